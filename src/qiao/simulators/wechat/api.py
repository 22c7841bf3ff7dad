"""The API's addresses, and what happens to every answer on its way out."""

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from qiao.simulators.kit.faults import NOT_DONE, Fault, FaultKind, deliver
from qiao.simulators.kit.scenarios import Scenario, scenario_of
from qiao.simulators.wechat import complaints, methods, sharing
from qiao.simulators.wechat.codec import Refusal, Request

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

Work = Callable[[Request, web.Request], methods.Reply]
FAULTS_OF: Final = {
    Scenario.ANSWER_LOST: FaultKind.LOSE_ANSWER,
    Scenario.NEVER_ARRIVED: FaultKind.RESET,
    Scenario.SYSTEM_ERROR_BUT_DONE: FaultKind.SYSTEM_ERROR_BUT_DONE,
    Scenario.SYSTEM_ERROR_NOT_DONE: FaultKind.SYSTEM_ERROR,
    Scenario.BAD_SIGNATURE: FaultKind.BAD_SIGNATURE,
}
PARTNER: Final = "/v3/pay/partner/transactions"
"""Where service providers, and they alone, work with orders."""
SYSTEM_ERROR: Final = Refusal(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用")


class Api:
    """Every address under ``/v3``."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._seen: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        simulator, found = self._simulator, []
        for base in ("/v3/pay/transactions", PARTNER):
            found += [
                self._post(f"{base}/{one}", f"create.{one}", _creating(simulator, one))
                for one in methods.TRADE_TYPES
            ]
            number, by_id = f"{base}/out-trade-no/{{number}}", f"{base}/id/{{number}}"
            found += [
                self._get(number, "query", _numbered(simulator, methods.query)),
                self._get(by_id, "query", _numbered(simulator, methods.query_by_id)),
                self._post(f"{number}/close", "close", _numbered(simulator, methods.close)),
                self._post(f"{number}/reverse", "reverse", _numbered(simulator, methods.reverse)),
            ]
        refunds, bills = "/v3/refund/domestic/refunds", "/v3/fund-app/mch-transfer/transfer-bills"
        questions = {
            f"{refunds}/{{number}}": ("query_refund", methods.query_refund),
            f"{bills}/out-bill-no/{{number}}": ("query_transfer", methods.query_transfer),
            f"{sharing.ORDERS}/{{number}}": ("query_share", sharing.query),
            f"{sharing.RETURNS}/{{number}}": ("query_return_share", sharing.query_return),
        }
        return [
            *found,
            *(
                self._get(path, operation, _numbered(simulator, method))
                for path, (operation, method) in questions.items()
            ),
            self._post(refunds, "refund", lambda asked, _: methods.refund(simulator, asked)),
            self._post(bills, "transfer", _transferring(simulator)),
            *self._sharing(),
            *self._complaints(),
            self._get("/v3/certificates", "certificates", self._certificates),
            self._get("/v3/bill/tradebill", "bill", self._bill),
            self._get("/v3/bill/fundflowbill", "bill", self._bill),
            web.get("/v3/billdownload/file", self._download),
        ]

    def _sharing(self) -> list[web.RouteDef]:
        simulator = self._simulator
        does = {
            sharing.ORDERS: ("share", sharing.share),
            f"{sharing.ORDERS}/unfreeze": ("unfreeze", sharing.unfreeze),
            sharing.RETURNS: ("return_share", sharing.give_back),
            f"{sharing.RECEIVERS}/delete": ("unbind", sharing.unbind),
        }
        return [
            *(
                self._post(path, name, _plain(simulator, does))
                for path, (name, does) in does.items()
            ),
            self._post(
                f"{sharing.RECEIVERS}/add",
                "bind",
                lambda asked, http: sharing.bind(
                    simulator, asked, http.headers.get("Wechatpay-Serial", "")
                ),
            ),
        ]

    def _complaints(self) -> list[web.RouteDef]:
        simulator, one = self._simulator, f"{complaints.PATH}/{{number}}"
        reads = {
            one: ("query_complaint", complaints.query),
            f"{one}/negotiation-historys": ("complaint_history", complaints.history),
        }
        writes = {
            f"{one}/response": ("respond", complaints.respond),
            f"{one}/complete": ("complete", complaints.complete),
        }
        return [
            self._get(complaints.PATH, "list_complaints", _plain(simulator, complaints.list_them)),
            *(
                self._get(path, name, _numbered(simulator, does))
                for path, (name, does) in reads.items()
            ),
            *(
                self._post(path, name, _numbered(simulator, does))
                for path, (name, does) in writes.items()
            ),
            self._post(
                complaints.NOTIFICATIONS, "register", _plain(simulator, complaints.register)
            ),
        ]

    def _get(self, path: str, operation: str, work: Work) -> web.RouteDef:
        return web.get(path, self._handler(operation, work))

    def _post(self, path: str, operation: str, work: Work) -> web.RouteDef:
        return web.post(path, self._handler(operation, work))

    def _handler(self, operation: str, work: Work) -> Callable[[web.Request], Any]:
        async def handle(http: web.Request) -> web.StreamResponse:
            try:
                request = await self._read(http)
            except Refusal as refusal:
                return _json(refusal.status, refusal.body(), {})
            fault = self._simulator.faults.take_for_answer(operation) or self._fault(
                operation, request
            )
            kind = fault.kind if fault else None
            status: int = SYSTEM_ERROR.status
            body: dict[str, Any] | None = dict(SYSTEM_ERROR.body())
            if kind not in NOT_DONE:
                status, body = _done(work, request, http)
                if kind is FaultKind.SYSTEM_ERROR_BUT_DONE:
                    status, body = SYSTEM_ERROR.status, dict(SYSTEM_ERROR.body())
            content = _bytes(body)
            headers = self._simulator.codec.headers(
                request.merchant,
                content,
                self._simulator.clock.now(),
                wrongly=kind is FaultKind.BAD_SIGNATURE,
            )
            return await deliver(http, _json(status, body, headers), fault)

        return handle

    async def _read(self, http: web.Request) -> Request:
        return self._simulator.codec.read(
            http.method,
            http.rel_url.raw_path_qs,
            http.headers,
            await http.read(),
            http.query,
            self._simulator.clock.now(),
        )

    def _fault(self, operation: str, request: Request) -> Fault | None:
        """What the amount's scenario does to the first request of a number; a resend goes well."""
        body = request.body
        amount = body.get("amount")
        if not isinstance(amount, dict) or type(amount.get("total")) is not int:
            return None
        scenario = scenario_of(amount["total"])
        if operation.startswith("create."):
            kind, key = FAULTS_OF.get(scenario) if scenario else None, str(body.get("out_trade_no"))
        elif operation == "refund" and scenario is Scenario.REFUND_ANSWER_LOST:
            kind, key = FaultKind.LOSE_ANSWER, f"refund:{body.get('out_refund_no')}"
        else:
            return None
        if kind is None or (request.owner, key) in self._seen:
            return None
        self._seen.add((request.owner, key))
        return Fault(kind=kind)

    def _certificates(self, request: Request, _: web.Request) -> methods.Reply:
        return 200, {"data": self._simulator.codec.certificates(request.merchant)}

    def _bill(self, request: Request, http: web.Request) -> methods.Reply:
        flow = http.path.endswith("fundflowbill")
        text = self._simulator.bill(request.owner, request.query.get("bill_date", ""), flow=flow)
        if text is None:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单不存在")
        packed = request.query.get("tar_type") == "GZIP"
        token = self._simulator.keep_bill(gzip.compress(text) if packed else text)
        return 200, {
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(text, usedforsecurity=False).hexdigest(),
            "download_url": f"{self._simulator.base_url}/v3/billdownload/file?token={token}",
        }

    async def _download(self, http: web.Request) -> web.Response:
        """The file; signed for by the request, not by the answer."""
        try:
            await self._read(http)
        except Refusal as refusal:
            return _json(refusal.status, refusal.body(), {})
        found = self._simulator.kept_bill(http.query.get("token", ""))
        if found is None:
            return _json(404, {"code": "RESOURCE_NOT_EXISTS", "message": "文件不存在"}, {})
        return web.Response(body=found, content_type="application/octet-stream")


def _done(work: Work, request: Request, http: web.Request) -> methods.Reply:
    orders = http.path.startswith("/v3/pay/")
    try:
        if orders and http.path.startswith(PARTNER) != bool(request.merchant.sub_mchid):
            raise Refusal(403, "NO_AUTH", "商户无权限")
        return work(request, http)
    except Refusal as refusal:
        return refusal.status, refusal.body()


def _creating(simulator: "Simulator", product: str) -> Work:
    return lambda asked, _: methods.create(simulator, asked, product)


def _plain(simulator: "Simulator", method: Callable[["Simulator", Request], methods.Reply]) -> Work:
    return lambda asked, _: method(simulator, asked)


def _numbered(
    simulator: "Simulator", method: Callable[["Simulator", Request, str], methods.Reply]
) -> Work:
    return lambda asked, http: method(simulator, asked, http.match_info["number"])


def _transferring(simulator: "Simulator") -> Work:
    return lambda asked, http: methods.transfer(
        simulator, asked, http.headers.get("Wechatpay-Serial", "")
    )


def _bytes(body: Mapping[str, Any] | None) -> bytes:
    if body is None:
        return b""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _json(status: int, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=_bytes(body),
        headers={**headers, "Content-Type": "application/json; charset=utf-8"},
    )
