"""``qiao demo --once`` as a new user runs it: every process real, every payment to its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]


def test_the_story_goes_well(tmp_path: Path, postgres_url: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [*QIAO, "demo", "--once", "--json"],
        env={**kept, "QIAO_HOME": str(tmp_path), "QIAO_DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    chapters = json.loads(done.stdout)
    assert len(chapters) >= 5
    assert all(one["happened"] == one["expected"] for one in chapters)
