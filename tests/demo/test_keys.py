"""The simulated channels' keys outlive a start, but not a release that needs more of them."""

import json
from pathlib import Path

from qiao.demo import world


def test_keys_are_kept_and_those_of_an_older_release_made_anew(tmp_path: Path) -> None:
    first = world._wechat_keys(tmp_path)
    assert world._wechat_keys(tmp_path) == first
    path = tmp_path / "simulated-wechat.json"
    assert path.stat().st_mode & 0o077 == 0
    older = json.loads(path.read_bytes())
    del older["server_key"]
    path.write_text(json.dumps(older))
    anew = world._wechat_keys(tmp_path)
    assert anew != first
    assert world._wechat_keys(tmp_path) == anew
