"""The addresses of API v2, and what happens to every answer on its way out."""

import gzip
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qiao.simulators.kit.faults import NOT_DONE, Fault, FaultKind, deliver
from qiao.simulators.kit.scenarios import Scenario, scenario_of
from qiao.simulators.wechat.api import FAULTS_OF
from qiao.simulators.wechat.codec import Refusal
from qiao.simulators.wechat.credentials import Merchant
from qiao.simulators.wechat.v2 import papay
from qiao.simulators.wechat.v2.codec import Failure, Refused, Request
from qiao.simulators.wechat.v2.methods import METHODS, PRODUCTS, Method, refused

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

MUTUAL: Final = "/secapi/"
NO_CERTIFICATE: Final = (
    "<html><head><title>400 No required SSL certificate was sent</title></head><body>"
    "<center><h1>400 Bad Request</h1></center>"
    "<center>No required SSL certificate was sent</center></body></html>"
)
SYSTEM_ERROR: Final = Refused("SYSTEMERROR", "系统错误")
CALL_AGAIN: Final = Refused("SYSTEMERROR", "系统错误", recall="Y")


class Api:
    """Every address under ``/pay``, ``/papay`` and ``/secapi``."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._seen: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        every = {**METHODS, **papay.METHODS}
        methods = [web.post(path, self._handler(*method)) for path, method in every.items()]
        return [*methods, web.post("/pay/downloadbill", self._bill)]

    def _handler(self, operation: str, method: Method) -> Callable[[web.Request], Any]:
        async def handle(http: web.Request) -> web.StreamResponse:
            mutual = http.path.startswith(MUTUAL)
            if mutual and _certificate(http) is None:
                return web.Response(status=400, text=NO_CERTIFICATE, content_type="text/html")
            try:
                bare = http.path.startswith("/papay/")
                request = self._simulator.v2.read(await http.read(), bare=bare)
                fault = self._take_fault(operation, request)
                kind = fault.kind if fault else None
                told = (CALL_AGAIN if operation == "reverse" else SYSTEM_ERROR).fields()
                if kind not in NOT_DONE:
                    done = self._done(method, request, http, mutual=mutual)
                    told = done if kind is not FaultKind.SYSTEM_ERROR_BUT_DONE else told
            except Failure as failure:
                return _xml(failure.body())
            wrongly = kind is FaultKind.BAD_SIGNATURE
            body = self._simulator.v2.answer(request, told, wrongly=wrongly)
            return await deliver(http, _xml(body), fault)

        return handle

    def _done(
        self, method: Method, request: Request, http: web.Request, *, mutual: bool
    ) -> dict[str, str]:
        """What it answers. Raises Failure."""
        try:
            if mutual and _certificate(http) != _own(request.merchant):
                raise Refused("CERT_ERROR", "证书校验错误", recall="N")
            return method(self._simulator, request)
        except Refused as refusal:
            return refusal.fields()
        except Refusal as refusal:
            return refused(refusal).fields()

    def _take_fault(self, operation: str, request: Request) -> Fault | None:
        """The fault that was asked for, or what the amount's scenario does the first time."""
        fields = request.fields
        if operation == "create":
            operation = f"create.{PRODUCTS.get(fields.get('trade_type', ''), 'native')}"
        taken = self._simulator.faults.take_for_answer(operation)
        total = fields.get("total_fee", "")
        if taken or not (total.isascii() and total.isdigit()):
            return taken
        scenario = scenario_of(int(total))
        if operation.startswith("create.") or operation == "charge":
            kind, key = FAULTS_OF.get(scenario) if scenario else None, fields.get("out_trade_no")
        elif operation == "refund" and scenario is Scenario.REFUND_ANSWER_LOST:
            kind, key = FaultKind.LOSE_ANSWER, f"refund:{fields.get('out_refund_no')}"
        else:
            return None
        if kind is None or (request.owner, str(key)) in self._seen:
            return None
        self._seen.add((request.owner, str(key)))
        return Fault(kind=kind)

    async def _bill(self, http: web.Request) -> web.StreamResponse:
        """The bill as text, packed if asked; a refusal as XML. Neither is signed."""
        try:
            request = self._simulator.v2.read(await http.read())
            try:
                day = datetime.strptime(request.text("bill_date", most=8), "%Y%m%d").date()  # noqa: DTZ007 - a day
            except ValueError:
                raise Failure("invalid bill_date", error_code="20001") from None
            fault = self._simulator.faults.take_for_answer("bill")
            text = self._simulator.bill(request.owner, day.isoformat(), flow=False)
            if text is None:
                raise Failure("No Bill Exist", error_code="20002")
        except Failure as failure:
            return _xml(failure.body())
        packed = request.fields.get("tar_type") == "GZIP"
        answer = web.Response(
            body=gzip.compress(text) if packed else text,
            content_type="application/x-gzip" if packed else "text/plain",
        )
        return await deliver(http, answer, fault)


def _certificate(http: web.Request) -> bytes | None:
    """The certificate that the client showed, which the simulator's CA signed; DER."""
    channel = http.transport.get_extra_info("ssl_object") if http.transport else None
    shown: bytes | None = channel.getpeercert(binary_form=True) if channel else None
    return shown


def _own(merchant: Merchant) -> bytes:
    return x509.load_pem_x509_certificate(merchant.certificate.encode()).public_bytes(Encoding.DER)


def _xml(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/xml", charset="utf-8")
