"""The simulated channels' keys outlive a start, but not a release that needs more of them."""

import json
from pathlib import Path

from qiao.simulators.sandbox import open_wechat


def test_keys_are_kept_and_those_of_an_older_release_made_anew(tmp_path: Path) -> None:
    first = open_wechat(tmp_path).credentials
    assert open_wechat(tmp_path).credentials == first
    path = tmp_path / "wechat" / "credentials.json"
    assert path.stat().st_mode & 0o077 == 0
    older = json.loads(path.read_bytes())
    del older["server_key"]
    path.write_text(json.dumps(older))
    anew = open_wechat(tmp_path).credentials
    assert anew != first
    assert open_wechat(tmp_path).credentials == anew
