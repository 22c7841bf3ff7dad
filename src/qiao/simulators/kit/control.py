"""The control API that every simulator has under ``/_control``: faults and deliveries, as JSON."""

import msgspec
from aiohttp import web

from qiao.simulators.kit.faults import Fault, FaultPlan
from qiao.simulators.kit.notifier import Notifier
from qiao.simulators.kit.pages import json_answer
from qiao.simulators.kit.scenarios import ENTRIES


def control_routes(faults: FaultPlan, notifier: Notifier) -> list[web.RouteDef]:
    """``GET POST DELETE /_control/faults``, ``GET /_control/deliveries``, ``…/scenarios``."""

    async def list_faults(_: web.Request) -> web.Response:
        return json_answer(faults.faults)

    async def add_fault(request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
        except msgspec.DecodeError as error:
            return json_answer({"error": str(error)}, status=400)
        faults.add(fault)
        return json_answer(fault, status=201)

    async def clear_faults(_: web.Request) -> web.Response:
        faults.clear()
        return web.Response(status=204)

    async def deliveries(_: web.Request) -> web.Response:
        return json_answer(notifier.deliveries)

    async def scenarios(_: web.Request) -> web.Response:
        return json_answer(ENTRIES)

    return [
        web.get("/_control/faults", list_faults),
        web.post("/_control/faults", add_fault),
        web.delete("/_control/faults", clear_faults),
        web.get("/_control/deliveries", deliveries),
        web.get("/_control/scenarios", scenarios),
    ]
