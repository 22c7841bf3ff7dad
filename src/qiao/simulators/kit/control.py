"""The control API that every simulator has under ``/_control``: faults and deliveries, as JSON."""

from typing import Any

import msgspec
from aiohttp import web

from qiao.simulators.kit.faults import Fault, FaultPlan
from qiao.simulators.kit.notifier import Notifier
from qiao.simulators.kit.scenarios import ENTRIES


def control_routes(faults: FaultPlan, notifier: Notifier) -> list[web.RouteDef]:
    """``GET POST DELETE /_control/faults``, ``GET /_control/deliveries``, ``…/scenarios``."""

    async def list_faults(_: web.Request) -> web.Response:
        return _json(faults.faults)

    async def add_fault(request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
        except msgspec.DecodeError as error:
            return _json({"error": str(error)}, status=400)
        faults.add(fault)
        return _json(fault, status=201)

    async def clear_faults(_: web.Request) -> web.Response:
        faults.clear()
        return web.Response(status=204)

    async def deliveries(_: web.Request) -> web.Response:
        return _json(notifier.deliveries)

    async def scenarios(_: web.Request) -> web.Response:
        return _json(ENTRIES)

    return [
        web.get("/_control/faults", list_faults),
        web.post("/_control/faults", add_fault),
        web.delete("/_control/faults", clear_faults),
        web.get("/_control/deliveries", deliveries),
        web.get("/_control/scenarios", scenarios),
    ]


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json"
    )
