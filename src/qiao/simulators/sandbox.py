"""Every simulator under one roof: kept credentials, fixed ports, settings for accounts.

``qiao sandbox`` and ``qiao demo`` run these. A folder keeps, for each channel, the credentials of
both sides, one file of settings for each account that the simulated channel knows, and while it
runs its address. All of it is readable by its owner alone.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from qiao.simulators import alipay, wechat

Keys = TypeVar("Keys", alipay.Credentials, wechat.Credentials)
HOST: Final = "127.0.0.1"
TIME_SCALE: Final = 60.0
"""A minute of a simulated channel's retries and delays takes a second."""
CREDENTIALS_FILE, ADDRESS_FILE, LOCK_FILE = "credentials.json", "address", "lock"


class AlreadyRunning(Exception):
    """Another process simulates channels out of this folder."""


class PortTaken(Exception):
    """A port that was asked for is somebody else's."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken")
        self.port = port


class Simulator(Protocol):
    """What every simulator is to whoever runs it."""

    base_url: str

    def running(self, *, host: str = ..., port: int = ...) -> AbstractAsyncContextManager[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A simulator that can be run. ``settings`` are those of every account, by its name."""

    port: int
    open: Callable[[Path, float], Simulator]
    settings: Callable[[Any], Mapping[str, Mapping[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A simulator at work. ``accounts`` are the files of settings, by the account's name."""

    channel: str
    url: str
    moved: bool
    """Whether its own port was taken, so that settings handed out before name another one."""
    accounts: Mapping[str, Path] = field(default_factory=dict)


def open_alipay(folder: Path, time_scale: float = TIME_SCALE) -> alipay.Simulator:
    """The simulated Alipay with the credentials that the folder keeps, or with fresh ones."""
    kept = _kept(folder / "alipay", alipay.Credentials.from_json, alipay.new_credentials)
    return alipay.Simulator(credentials=kept, time_scale=time_scale)


def open_wechat(folder: Path, time_scale: float = TIME_SCALE) -> wechat.Simulator:
    """The simulated WeChat Pay with the credentials that the folder keeps, or with fresh ones."""
    kept = _kept(folder / "wechat", wechat.Credentials.from_json, wechat.new_credentials)
    return wechat.Simulator(credentials=kept, time_scale=time_scale)


def _alipay_settings(simulator: alipay.Simulator) -> dict[str, Mapping[str, object]]:
    known, url = simulator.credentials, simulator.base_url
    return {name: known.settings(name, base_url=url) for name in known.apps}


def _wechat_settings(simulator: wechat.Simulator) -> dict[str, Mapping[str, object]]:
    known, url = simulator.credentials, simulator.base_url
    own = {name: known.settings(name, base_url=url) for name in known.merchants}
    v2 = {
        f"{name}-v2": known.v2_settings(name, base_url=url, secure_url=simulator.secure_url)
        for name in known.merchants
    }
    return {**own, **v2}


KINDS: Final[Mapping[str, Kind]] = {
    "alipay": Kind(port=8191, open=open_alipay, settings=_alipay_settings),
    "wechat": Kind(port=8192, open=open_wechat, settings=_wechat_settings),
}


@asynccontextmanager
async def sandbox(
    folder: Path,
    channels: Sequence[str],
    *,
    time_scale: float = TIME_SCALE,
    port: int | None = None,
) -> AsyncIterator[list[Running]]:
    """Simulate these channels until the block ends.

    Without ``port`` each has a port of its own, or a free one when that is taken; with it, they
    have that port and the next ones (0: free ones). Raises PortTaken, AlreadyRunning.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_locked(folder))
        running = []
        for place, channel in enumerate(channels):
            simulator = KINDS[channel].open(folder, time_scale)
            wanted = port + place if port else port
            running.append(
                await stack.enter_async_context(simulate(folder, channel, simulator, port=wanted))
            )
        yield running


@asynccontextmanager
async def simulate(
    folder: Path, channel: str, simulator: Simulator, *, port: int | None = None
) -> AsyncIterator[Running]:
    """Run one simulator, and leave word in the folder of where it is."""
    kind, own = KINDS[channel], folder / channel
    wanted = kind.port if port is None else port
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(simulator.running(host=HOST, port=wanted))
        except OSError:
            if port is not None:
                raise PortTaken(port) from None
            url = await stack.enter_async_context(simulator.running(host=HOST, port=0))
        accounts = {}
        for name, settings in kind.settings(simulator).items():
            accounts[name] = own / f"{name}.json"
            text = msgspec.json.format(msgspec.json.encode(settings), indent=2)
            _write(accounts[name], text + b"\n")
        address = own / ADDRESS_FILE
        _write(address, url.encode())
        stack.callback(address.unlink, missing_ok=True)
        moved = port is None and url != f"http://{HOST}:{kind.port}"
        yield Running(channel=channel, url=url, moved=moved, accounts=accounts)


def addresses(folder: Path, channel: str | None = None) -> list[str]:
    """Where the folder's simulators are, of one channel or of all; some may be gone."""
    return [
        path.read_text("ascii").strip()
        for path in sorted(folder.glob(f"{channel or '*'}/{ADDRESS_FILE}"))
    ]


def _kept(folder: Path, read: Callable[[bytes], Keys], make: Callable[[], Keys]) -> Keys:
    """Making keys takes seconds, and accounts that were configured with them must stay valid.

    Those of an older release, which lack something by now, are made anew.
    """
    path = folder / CREDENTIALS_FILE
    try:
        return read(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        keys = make()
    _write(path, keys.to_json())
    return keys


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, and for its owner's eyes alone from the first byte."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(str(folder)) from None
        yield
