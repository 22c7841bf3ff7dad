"""What an author sees: kept, broken and left-out promises, each told apart."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = '''
"""An author's tests."""

from dataclasses import replace

from qiao.channels.conformance import ChannelConformance, NotApplicable
from qiao.channels.conformance.example import ToyHarness


class QuietHarness(ToyHarness):
    examples = 5

    def refund_notification(self, situation):
        raise NotApplicable("refunds come silently")

    def payment_notification(self, situation):
        raise NotApplicable("payments come silently")

    def agreement_notification(self, situation):
        raise NotApplicable("agreements come silently")

    def secrets(self):
        return ["https://toy.example"]

    def without_declared_secrets(self, request):
        return replace(request, url="")


class TestQuiet(ChannelConformance):
    harness = QuietHarness
    known_gaps = {
        "outcomes_show_no_secret": "the gateway is no secret",
        "manifest_is_complete": "it is whole",
    }


def test_something_else():
    pass
'''


def run_pytest(folder: Path, *arguments: str) -> str:
    (folder / "test_quiet.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "qiao.channels.conformance.plugin"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(folder), "-q", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_the_summary_tells_kept_broken_and_left_out(tmp_path: Path) -> None:
    shown = run_pytest(tmp_path, "-m", "conformance")
    assert "conformance of test_quiet.py::TestQuiet" in shown
    assert "broken: settings_show_no_secret" in shown
    silent = "payments come silently; refunds come silently; agreements come silently"
    assert f"notification_forged_stale: {silent}" in shown
    assert "known gap: outcomes_show_no_secret: the gateway is no secret" in shown
    assert "broken: manifest_is_complete" in shown, "a gap that is closed must be struck out"
    assert "1 deselected" in shown
