"""``qiao db partitions`` and ``qiao db archive``, as programs."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qiao.engine.refunds import refund
from qiao.store.database import Database
from qiao.store.partitions import LATER, MONTHS_AHEAD, month_after
from qiao.testing.world import make_world

Run = Callable[..., "subprocess.CompletedProcess[str]"]


async def test_an_archive_is_made_and_proven(run: Run, database: Database, tmp_path: Path) -> None:
    world = await make_world(database)
    now = datetime.now(UTC)
    begin = month_after(now)
    world.clock.ahead = begin - timedelta(days=20) - now
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
    await world.work_until_quiet(hours=8)
    folder = tmp_path / "archive"
    command = ("db", "archive", "--before", f"{begin:%Y-%m-%d}", "--to", str(folder))
    if now.day == 1:
        refused = run(*command)
        assert (refused.returncode, "too young" in refused.stderr) == (2, True)
        return
    done = json.loads(run(*command, "--json").stdout)
    [period] = done["archived"]
    assert period["period"] == f"until_{begin:%Y_%m}"
    assert period["rows"]["ledger_entry"] > 0
    assert "nothing to do" in run(*command).stdout
    checked = run("db", "archive", "--check", str(folder))
    assert (checked.returncode, "✓" in checked.stdout) == (0, True)
    assert json.loads(run("ledger", "check", "--json").stdout)["right"]

    shown = json.loads(run("db", "partitions", "--json").stdout)
    assert [one["place"] for one in shown["archived"]] == [str(folder)]
    assert shown["periods"][-1]["period"] == LATER
    assert len(shown["periods"]) == MONTHS_AHEAD + 2
    assert str(folder) in run("db", "partitions", COLUMNS="400").stdout

    (folder / period["period"] / "event.parquet").write_bytes(b"")
    broken = run("db", "archive", "--check", str(folder), "--json")
    assert broken.returncode == 1
    [mistake] = json.loads(broken.stdout)["periods"][0]["mistakes"]
    assert "event.parquet is not the file that was written" in mistake


async def test_what_holds_a_period_is_named(run: Run, database: Database, tmp_path: Path) -> None:
    world = await make_world(database)
    now = datetime.now(UTC)
    begin = month_after(now, -1)
    world.clock.ahead = begin - timedelta(days=20) - now
    payment = await world.accept(1000)
    refused = run(
        "db", "archive", "--before", f"{now:%Y-%m}", "--to", str(tmp_path / "x"), COLUMNS="400"
    )
    if now.day > 1:
        assert refused.returncode == 1
        assert payment.payment_id in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((), "before"),
        (("--before", "2025-01-01"), "to"),
        (("--check", "x", "--to", "y"), "check"),
        (("--before", "2999-01-01", "--to", "y"), "before"),
    ],
)
def test_what_is_missing_or_too_much(run: Run, arguments: tuple[str, ...], field: str) -> None:
    refused = run("db", "archive", *arguments)
    assert refused.returncode == 2
    assert f"{field}: " in refused.stderr
