"""Configuration: ``config.toml`` in the home folder, then ``QIAO_…`` in the environment.

``QIAO_X_FILE`` names a file that holds the value of ``QIAO_X``, as containers hand out secrets.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from qiao.channels.settings import Secret, Settings
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.transport.guard import LOOPBACK, Network, read_networks

PREFIX = "QIAO_"
SEAL_KEY_FILE = "seal.key"
LOOPBACK_NAMES = {"127.0.0.1", "::1", "localhost"}


class Config(Settings, frozen=True, kw_only=True):
    """How this server runs. Each field is a line of config.toml and QIAO_ in capitals."""

    home: str
    """Where data is kept when nothing else is said."""
    database_url: Secret | None = None
    """A PostgreSQL of your own; without it an embedded one runs in ``home``."""
    backup_archive: str | None = None
    """A folder for the embedded database's write-ahead log, so that backups can be restored to any
    moment. With a PostgreSQL of your own: where that one archives to, for the backup to say so."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    public_url: str | None = None
    """How customers and channels reach us; http://host:port without it."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Where metrics and probes are shown, apart from the doors; nowhere without it. Each process
    of a machine needs its own."""
    metrics_host: str = "127.0.0.1"
    """The metrics tell a business's turnover: only this machine sees them unless told otherwise."""
    drain_seconds: Annotated[float, Meta(ge=0, le=300)] = 0.0
    """How long /readyz says 503 before a stopping server takes no more requests: longer than a
    load balancer needs to see it."""
    webhook_networks: str | None = None
    """Networks that are not public and may yet be reached by webhooks, apart by commas."""
    max_requests: Annotated[int, Meta(ge=8, le=4096)] = 128
    """How many requests a process serves at once; the rest waits a moment or is refused."""
    rate_limit: Annotated[int, Meta(ge=1)] | None = None
    """Requests per second for each API key in each process; no limit without it."""
    rate_limits: str | None = None
    """Of single merchants: mer_…=500, mer_…=20."""
    trusted_proxies: str | None = None
    """Addresses or networks of proxies whose X-Forwarded-For is believed, apart by commas."""
    seal_keys: Secret | None = None
    """Fernet keys that seal accounts' settings at rest, the newest first, apart by commas."""

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def limits_of_merchants(self) -> dict[str, int]:
        """``rate_limits``, read. Raises InvalidInput."""
        parts = [part.strip() for part in (self.rate_limits or "").split(",") if part.strip()]
        found: dict[str, int] = {}
        for part in parts:
            merchant_id, _, limit = part.partition("=")
            limit = limit.strip()
            if not (limit.isascii() and limit.isdecimal() and int(limit)):
                raise InvalidInput(
                    "not a list of limits",
                    field="rate_limits",
                    remedy="write a merchant's id and requests per second: mer_…=500, mer_…=20",
                )
            found[merchant_id.strip()] = int(limit)
        return found

    @property
    def private_networks(self) -> tuple[Network, ...]:
        """What webhooks may reach besides public addresses. Raises InvalidInput.

        The loopback, when nothing is said and the server can be reached only there: then whoever
        has a key sits at this machine and reaches it anyway.
        """
        if self.webhook_networks is not None:
            return read_networks(self.webhook_networks, field="webhook_networks")
        own = urlsplit(self.base_url).hostname or ""
        return LOOPBACK if {own, self.host} <= LOOPBACK_NAMES else ()


def load_config(environment: Mapping[str, str] | None = None) -> Config:
    """Raises InvalidInput that names the setting and where it came from."""
    given = os.environ if environment is None else environment
    home = Path(given.get("QIAO_HOME") or _default_home(given)).expanduser().absolute()
    values: dict[str, Any] = {**_file(home / "config.toml"), **_environment(given)}
    values["home"] = str(home)
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at ")
        raise InvalidInput(
            text,
            field=path.strip("`").removeprefix("$.") or "config",
            remedy=f"mend it in {home / 'config.toml'} or in the environment "
            f"({', '.join(sorted(PREFIX + name.upper() for name in Config.__struct_fields__))})",
        ) from None


def load_seal(config: Config) -> Seal:
    """The seal of the configuration, or of a key that is made once and kept in the home folder."""
    if config.seal_keys:
        return _seal(seal_keys(config), "seal_keys")
    path = Path(config.home) / SEAL_KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(Seal.new_key())
    return _seal(seal_keys(config), str(path))


def seal_keys(config: Config) -> list[str]:
    """The keys of the configuration or of the key file; none when there is neither."""
    path = Path(config.home) / SEAL_KEY_FILE
    text = config.seal_keys or (path.read_text() if path.exists() else "")
    return [key.strip() for key in text.split(",") if key.strip()]


def _seal(keys: list[str], field: str) -> Seal:
    try:
        return Seal(keys)
    except ValueError:
        raise InvalidInput(
            "not a sealing key", field=field, remedy="make one with: qiao config new-seal-key"
        ) from None


def _default_home(given: Mapping[str, str]) -> Path:
    data = given.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data) / "qiao"


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            str(error), field=str(path), remedy="write lines such as: port = 8080"
        ) from None


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in Config.__struct_fields__:
        variable = PREFIX + name.upper()
        if variable in given:
            found[name] = given[variable]
        elif (path := given.get(f"{variable}_FILE")) is not None:
            try:
                found[name] = Path(path).read_text("utf-8").strip()
            except OSError as error:
                raise InvalidInput(
                    f"cannot be read: {error.strerror}",
                    field=f"{variable}_FILE",
                    remedy="name a file that this process may read",
                ) from None
    return found
