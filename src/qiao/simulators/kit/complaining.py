"""How a test, or ``qiao trigger``, has a customer complain about what was paid at a simulator."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from qiao.simulators.kit.pages import json_answer


class Complaining(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer says. With ``told`` the merchant hears of complaints where it hears of the
    payment, if nowhere else."""

    text: str = "商品有问题"
    phone: str = "13800138000"
    told: bool = False


def complaint_route(complain: Callable[[web.Request, Complaining], str | None]) -> web.RouteDef:
    """``POST /_control/payments/{number}/complain``; the body may be left out.

    ``complain`` gives the complaint's number, or None for what is not paid: 409.
    """

    async def made(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read() or b"{}", type=Complaining)
        except msgspec.DecodeError as error:
            return json_answer({"error": str(error)}, status=400)
        number = complain(request, asked)
        if number is None:
            raise web.HTTPConflict
        return json_answer({"number": number}, status=201)

    return web.post("/_control/payments/{number}/complain", made)
