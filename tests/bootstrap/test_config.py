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
