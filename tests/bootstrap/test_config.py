"""Configuration from the file and the environment, and what is said of a wrong one."""

from pathlib import Path

import pytest

from qiao.bootstrap.config import load_config, load_seal
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput


def test_defaults(tmp_path: Path) -> None:
    config = load_config({"HOME": "/nowhere", "XDG_DATA_HOME": str(tmp_path)})
    assert config.home == str(tmp_path / "qiao")
    assert (config.database_url, config.base_url) == (None, "http://127.0.0.1:8080")


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('port = 9000\npublic_url = "https://pay.example/"\n')
    config = load_config({"QIAO_HOME": str(tmp_path), "QIAO_PORT": "9001"})
    assert (config.port, config.base_url) == (9001, "https://pay.example")


def test_a_secret_from_a_file_is_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://user:hush@db/qiao\n")
    given = {"QIAO_HOME": str(tmp_path), "QIAO_DATABASE_URL_FILE": str(tmp_path / "url")}
    config = load_config(given)
    assert config.database_url == "postgresql://user:hush@db/qiao"
    assert "hush" not in repr(config)


@pytest.mark.parametrize(
    ("file", "environment", "field"),
    [
        ("port = 70000", {}, "port"),
        ("", {"QIAO_PORT": "many"}, "port"),
        ("colour = 1", {}, "config"),
        ("port =", {}, "config.toml"),
        ("max_requests = 1", {}, "max_requests"),
        ("", {"QIAO_RATE_LIMIT": "0"}, "rate_limit"),
        ("", {"QIAO_DATABASE_URL_FILE": "/nowhere/at/all"}, "QIAO_DATABASE_URL_FILE"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, file: str, environment: dict[str, str], field: str
) -> None:
    (tmp_path / "config.toml").write_text(file)
    with pytest.raises(InvalidInput) as refused:
        load_config({"QIAO_HOME": str(tmp_path), **environment})
    assert refused.value.field.endswith(field)
    assert refused.value.remedy


def test_the_seal_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    config = load_config({"QIAO_HOME": str(tmp_path)})
    sealed = load_seal(config).close(b"hush")
    assert load_seal(config).open(sealed) == b"hush"
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600


def test_keys_can_be_rotated(tmp_path: Path) -> None:
    old, new = Seal.new_key(), Seal.new_key()
    given = {"QIAO_HOME": str(tmp_path)}
    sealed = load_seal(load_config({**given, "QIAO_SEAL_KEYS": old})).close(b"hush")
    both = load_seal(load_config({**given, "QIAO_SEAL_KEYS": f"{new},{old}"}))
    assert both.open(sealed) == b"hush"
    with pytest.raises(InvalidInput):
        load_seal(load_config({**given, "QIAO_SEAL_KEYS": "short"}))


@pytest.mark.parametrize(
    ("given", "reached"),
    [
        ({}, {"127.0.0.0/8", "::1/128"}),
        ({"QIAO_PUBLIC_URL": "https://pay.example"}, set()),
        ({"QIAO_HOST": "0.0.0.0"}, set()),
        ({"QIAO_WEBHOOK_NETWORKS": ""}, set()),
        (
            {"QIAO_HOST": "0.0.0.0", "QIAO_WEBHOOK_NETWORKS": "10.1.0.0/16, fd00::/8"},
            {"10.1.0.0/16", "fd00::/8"},
        ),
    ],
)
def test_webhooks_reach_the_loopback_only_where_nobody_else_reaches_the_server(
    tmp_path: Path, given: dict[str, str], reached: set[str]
) -> None:
    config = load_config({"QIAO_HOME": str(tmp_path), **given})
    assert {str(network) for network in config.private_networks} == reached


def test_limits_of_merchants_are_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    home = {"QIAO_HOME": str(tmp_path)}
    config = load_config({**home, "QIAO_RATE_LIMITS": "mer_a=500, mer_b = 20"})
    assert config.limits_of_merchants == {"mer_a": 500, "mer_b": 20}
    for wrong in ("mer_a", "mer_a=0", "mer_a=-1", "mer_a=many"):
        with pytest.raises(InvalidInput) as refused:
            _ = load_config({**home, "QIAO_RATE_LIMITS": wrong}).limits_of_merchants
        assert refused.value.field == "rate_limits"
