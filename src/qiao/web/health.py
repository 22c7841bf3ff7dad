"""Whether this process is alive, whether it can serve, and its metrics."""

import asyncio
import time
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State

from qiao.engine.runtime import Engine
from qiao.store.errors import StoreUnavailable
from qiao.store.migrate import head
from qiao.telemetry import metrics
from qiao.web.observed import observed

PATIENCE_SECONDS: Final = 2.0
HELD_SECONDS: Final = 1.0
"""How long an answer is given again: whoever asks more often costs the database nothing."""


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """Each check: ok, or what is wrong."""

    process: str = "ok"
    database: str = "ok"
    schema: str = "ok"

    @property
    def failed(self) -> list[str]:
        return [name for name in self.__struct_fields__ if getattr(self, name) != "ok"]


class Readiness:
    """Asks the database, at most once a second. ``stop`` says that this process is going."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._head = head()
        self._stopping = False
        self._held: Checks | None = None
        self._held_until = 0.0
        self._asking = asyncio.Lock()

    def stop(self) -> None:
        self._stopping = True

    async def checks(self) -> Checks:
        if self._stopping:
            return Checks(process="stopping", database="not asked", schema="not asked")
        async with self._asking:
            if self._held is None or time.monotonic() >= self._held_until:
                self._held = await self._ask()
                self._held_until = time.monotonic() + HELD_SECONDS
            return self._held

    async def _ask(self) -> Checks:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                row = await self._engine.database.fetch_row(
                    "SELECT version_num, oldest_revision FROM alembic_version, schema_compatibility"
                )
        except (StoreUnavailable, TimeoutError):
            return Checks(database="does not answer", schema="not asked")
        if row is None or row["version_num"] < self._head:
            found = row and row["version_num"]
            return Checks(schema=f"is {found}, wanted is {self._head}: qiao db migrate")
        # One that is newer is well, while it serves us too: a new version is being rolled out.
        oldest = row["oldest_revision"]
        if self._head < oldest:
            return Checks(schema=f"serves {oldest} and later, not {self._head}: run the newer Qiao")
        return Checks()


def readiness_of(request: Request[Any, Any, Any]) -> Readiness:
    found: Readiness = request.app.state["readiness"]
    return found


@get("/livez", include_in_schema=False)
async def livez() -> dict[str, str]:
    """This process runs and answers. Asks nobody: a lost database is no reason to kill it."""
    return {"status": "ok"}


@get(["/readyz", "/health"], include_in_schema=False)
async def readyz(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Whether requests should be sent here: the database answers, its schema fits, no shutdown."""
    checks = await readiness_of(request).checks()
    failed = checks.failed
    body: dict[str, Any] = {"status": "failed" if failed else "ok"}
    if failed:
        body |= {"failed": failed, "checks": msgspec.to_builtins(checks)}
    return Response(body, status_code=503 if failed else 200)


@get("/metrics", include_in_schema=False)
async def show_metrics() -> Response[bytes]:
    """Everything, in Prometheus' text format."""
    return Response(metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})


def create_operators_app(readiness: Readiness) -> Litestar:
    """The operator's own listener: metrics and probes, apart from the public doors."""
    app = Litestar(
        [livez, readyz, show_metrics],
        state=State({"readiness": readiness}),
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = observed(app.asgi_handler)
    return app
