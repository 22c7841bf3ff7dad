"""Alipay keeps every promise, against a counterpart that shares no code with its adapter.

The counterpart signs and verifies with ``cryptography`` directly, as the facts of Alipay OpenAPI
say: sorted parameters for requests and notifications, the node's raw text for answers.
"""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from qiao.channels.alipay import channel_type
from qiao.channels.conformance import (
    Account,
    ChannelConformance,
    ConformanceHarness,
    Forgery,
    NotApplicable,
    Situation,
    StatementSample,
    Status,
    Understood,
    Verb,
)
from qiao.channels.interface import EntryKind, StatementEntry
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.domain.money import Money
from qiao.domain.outcomes import Action, ClientParameters, QrCode, Redirect
from tests.channels.conformance.alipay_answers import (
    ELSEWHERE,
    TRADE,
    bill_line,
    bill_zip,
    currency,
    failure,
    ok,
    only_yuan,
    other_node,
    standing,
    transferred,
    yuan,
)

GATEWAY = "https://openapi.alipay.test/gateway.do"
IN_WALLET = "alipays://platformapi/startapp?appId=20000067&url="
BILL_URL = "https://dwbillcenter.alipay.test/downloadBillFile.resource?bizType=trade"
APPS = {
    Account.OURS: "2021000000000001",
    Account.OTHER_MERCHANT: "2021000000000002",
    Account.OTHER_APP: "2021000000000003",
}
SELLERS = {
    Account.OURS: "2088000000000001",
    Account.OTHER_MERCHANT: "2088000000000002",
    Account.OTHER_APP: "2088000000000001",
}
SHARED_TRADE = "4200000000202601150000000001"
QUESTIONS = {
    "alipay.merchant.tradecomplain.batchquery",
    "alipay.merchant.tradecomplain.query",
    "alipay.trade.query",
    "alipay.trade.fastpay.refund.query",
    "alipay.fund.trans.common.query",
    "alipay.fund.auth.operation.detail.query",
    "alipay.trade.order.settle.query",
    "alipay.data.dataservice.bill.downloadurl.query",
    "alipay.user.agreement.query",
}
TRADE_STATUSES = {
    Status.PENDING: "WAIT_BUYER_PAY",
    Status.SUCCEEDED: "TRADE_SUCCESS",
    Status.CLOSED: "TRADE_CLOSED",
    Status.UNRECOGNISED: "TRADE_LEVITATING",
}
REFUND_STATUSES = {
    Status.PENDING: "REFUND_PROCESSING",
    Status.SUCCEEDED: "REFUND_SUCCESS",
    Status.REFUSED: "REFUND_FAIL",
    Status.UNRECOGNISED: "REFUND_LEVITATING",
}
SHARE_STATES = {
    Status.PENDING: "PROCESSING",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "FAIL",
    Status.UNRECOGNISED: "LEVITATING",
}
REFUSALS = {
    Verb.CREATE: "ACQ.PAYMENT_REQUEST_HAS_RISK",
    Verb.REFUND: "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    Verb.SHARE_PROFIT: "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",
}
HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,对方账户,订单金额（元）,"
    "商家实收（元）,退款批次号/请求号,服务费（元）,备注"
)


def private_text(key: rsa.RSAPrivateKey) -> str:
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return base64.b64encode(der).decode()


def public_text(key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode()


def sorted_text(parameters: Mapping[str, str], *left_out: str) -> bytes:
    names = sorted(name for name in parameters if name not in left_out and parameters[name])
    return "&".join(f"{name}={parameters[name]}" for name in names).encode()


class AlipayHarness(ConformanceHarness):
    """Alipay's side of the wire, for an app in key mode (公钥模式) under RSA2."""

    channel_type = channel_type
    gateways = (GATEWAY, "https://dwbillcenter.alipay.test/", f"{IN_WALLET}{quote_plus(GATEWAY)}")
    plan = "INDUSTRY|EDU"
    auth_code = "280000000000000001"
    receiver_type = "userId"
    receiver = "2088000000000009"
    payee = "2088000000000008"

    def __init__(self) -> None:
        self.alipay, self.stranger, self.app, self.other_app = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)
        )

    def settings(self, account: Account) -> Mapping[str, object]:
        ours = account is Account.OURS
        return {
            "app_id": APPS[account],
            "private_key": private_text(self.app if ours else self.other_app),
            "alipay_public_key": public_text(self.alipay),
            "seller_id": SELLERS[account],
            "gateway": GATEWAY,
        }

    def secrets(self) -> Collection[str]:
        return [private_text(self.app)]

    # What the channel sends

    def understand(self, sent: HttpRequest | Action) -> Understood:
        if isinstance(sent, HttpRequest) and sent.url == BILL_URL:
            return Understood(operation="download", effect=False, authentic=True)
        parameters = self.parameters(sent)
        content = json.loads(parameters.get("biz_content", "{}"))
        shares = content.get("royalty_parameters", [])
        if returns := content.get("refund_royalty_parameters"):
            content, shares = {**content, "refund_amount": "0"}, returns
        amounts = [
            content[n]
            for n in ("total_amount", "refund_amount", "trans_amount", "amount")
            if n in content
        ]
        minors = [int(text.replace(".", "")) for text in (*amounts, *(s["amount"] for s in shares))]
        references = ("out_request_no", "out_trade_no", "out_biz_no", "external_agreement_no")
        return Understood(
            operation=parameters["method"],
            effect=parameters["method"] not in QUESTIONS,
            authentic=self.is_ours(parameters),
            reference=next((content[name] for name in references if name in content), None),
            amount=Money(sum(minors), "CNY") if minors else None,
        )

    def parameters(self, sent: HttpRequest | Action) -> dict[str, str]:
        if isinstance(sent, HttpRequest):
            return dict(parse_qsl(f"{urlsplit(sent.url).query}&{sent.body.decode()}"))
        if isinstance(sent, QrCode):
            return dict(parse_qsl(urlsplit(sent.content).query))
        if isinstance(sent, Redirect):
            url = unquote(sent.url.removeprefix(IN_WALLET)) if IN_WALLET in sent.url else sent.url
            return dict(parse_qsl(urlsplit(url).query))
        if isinstance(sent, ClientParameters):
            return dict(parse_qsl(sent.parameters["orderString"]))
        raise NotApplicable("the action holds no order")

    def is_ours(self, parameters: Mapping[str, str]) -> bool:
        signed = sorted_text(parameters, "sign")
        signature = base64.b64decode(parameters["sign"])
        try:
            key = self.app.public_key()
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        local = datetime.strptime(parameters["timestamp"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        near = abs(local - timedelta(hours=8) - self.now) < timedelta(hours=2)
        return near and (parameters["app_id"], parameters["sign_type"]) == (
            APPS[Account.OURS],
            "RSA2",
        )

    # What the other side says

    def answer(self, request: HttpRequest, situation: Situation) -> HttpResponse:
        if request.url == BILL_URL:
            if situation.forgery is not None:
                raise NotApplicable("the file of a bill is not signed")
            return HttpResponse(status=200, body=self.statements()[0].content)
        if situation.account is not Account.OURS:
            raise NotApplicable("an answer names neither merchant nor app")
        parameters = self.parameters(request)
        method = parameters["method"]
        node = self.node(method, json.loads(parameters.get("biz_content", "{}")), situation)
        refused = str(node.get("sub_code", "")).startswith("isv.")
        if refused and situation.forgery in (Forgery.NO_SIGNATURE, Forgery.EMPTY_SIGNATURE):
            raise NotApplicable("Alipay does not always sign what its gateway itself refuses")
        name = "error_response" if refused else f"{method.replace('.', '_')}_response"
        return HttpResponse(status=200, body=self.signed_answer(name, node, situation.forgery))

    def node(self, method: str, asked: Mapping[str, Any], told: Situation) -> dict[str, Any]:
        if told.status is Status.EMPTY:
            return {}
        if told.status is Status.SYSTEM_ERROR:
            return {"code": "20000", "msg": "Service Unavailable", "sub_code": "isp.unknow-error"}
        if told.verb in ELSEWHERE:
            return other_node(method, asked, told, self.receiver)
        match method:
            case _ if method.startswith(("alipay.fund.auth.", "alipay.user.agreement.")):
                return standing(method, told)
            case "alipay.trade.query":
                return self.trade(told)
            case "alipay.trade.close" | "alipay.trade.cancel":
                return self.ended(method, told)
            case "alipay.trade.refund" | "alipay.trade.fastpay.refund.query":
                return self.refund(method, asked, told)
            case "alipay.fund.trans.uni.transfer" | "alipay.fund.trans.common.query":
                return transferred(told)
            case "alipay.trade.order.settle" | "alipay.trade.order.settle.query":
                return self.shared(method, told)
            case "alipay.system.oauth.token":
                return self.payer_node(told)
            case "alipay.data.dataservice.bill.downloadurl.query":
                return self.bill(told)
            case _:
                return self.created(method, told)

    def created(self, method: str, told: Situation) -> dict[str, Any]:
        if told.status is Status.REFUSED:
            return failure(REFUSALS[Verb.CREATE])
        if told.status is Status.UNRECOGNISED:
            return failure("ACQ.LEVITATING")
        order = {"out_trade_no": told.reference, "trade_no": TRADE}
        if method == "alipay.trade.precreate":
            return ok(out_trade_no=told.reference, qr_code="https://qr.alipay.com/bax0001")
        if method == "alipay.trade.pay" and told.status is Status.SUCCEEDED:
            paid = {"total_amount": yuan(told.amount), "gmt_payment": self.local_time()}
            return ok(**order, **paid, **currency(told))
        return {**ok(**order), "code": "10003" if method == "alipay.trade.pay" else "10000"}

    def trade(self, told: Situation) -> dict[str, Any]:
        if told.status is Status.NOT_FOUND:
            return failure("ACQ.TRADE_NOT_EXIST")
        if told.status is Status.REFUSED:
            raise NotApplicable("a trade that was refused is no trade")
        captured = told.verb in (Verb.CAPTURE, Verb.QUERY_CAPTURE)
        return ok(
            out_trade_no=told.reference if captured else told.payment_reference,
            trade_no=TRADE,
            trade_status=TRADE_STATUSES[told.status],
            total_amount=yuan(told.amount),
            send_pay_date=self.local_time(),
            **currency(told),
        )

    def ended(self, method: str, told: Situation) -> dict[str, Any]:
        if told.status is Status.SUCCEEDED:
            return failure("ACQ.TRADE_STATUS_ERROR")
        if told.status is Status.UNRECOGNISED:
            return failure("ACQ.LEVITATING")
        ended = ok(out_trade_no=told.reference, trade_no=TRADE)
        return (
            ended
            if method == "alipay.trade.close"
            else {**ended, "retry_flag": "N", "action": "close"}
        )

    def refund(self, method: str, asked: Mapping[str, Any], told: Situation) -> dict[str, Any]:
        only_yuan(told)
        if method == "alipay.trade.refund":
            if (
                told.reference != asked["out_request_no"]
                or yuan(told.amount) != asked["refund_amount"]
            ):
                raise NotApplicable("the answer tells the trade and the sum of its refunds")
            if told.status is Status.REFUSED:
                return failure(REFUSALS[Verb.REFUND])
            if told.status is Status.UNRECOGNISED:
                return failure("ACQ.LEVITATING")
            done = told.status is Status.SUCCEEDED
            return ok(
                out_trade_no=told.payment_reference,
                trade_no=TRADE,
                fund_change="Y" if done else "N",
                refund_fee=yuan(told.amount),
            )
        if told.status is Status.NOT_FOUND or (
            told.verb is Verb.REFUND and told.status is Status.REFUSED
        ):
            return ok()
        return ok(
            out_trade_no=told.payment_reference,
            out_request_no=told.reference,
            trade_no=TRADE,
            refund_amount=yuan(told.amount),
            refund_status=REFUND_STATUSES[told.status],
        )

    def shared(self, method: str, told: Situation) -> dict[str, Any]:
        only_yuan(told)
        if told.status is Status.NOT_FOUND:
            raise NotApplicable("an unknown sharing has no answer of its own")
        if method == "alipay.trade.order.settle":
            if told.status is Status.SUCCEEDED:
                raise NotApplicable("a sharing is only accepted; its query tells the end")
            if told.status is Status.REFUSED:
                return failure(REFUSALS[Verb.SHARE_PROFIT])
            if told.status is Status.UNRECOGNISED:
                return failure("ACQ.LEVITATING")
            return ok(trade_no=SHARED_TRADE, settle_no="20260115002530020000000000000001")
        share = {
            "operation_type": "transfer",
            "trans_in": self.receiver,
            "amount": yuan(told.amount),
            "state": SHARE_STATES[told.status],
        }
        return ok(out_request_no=told.reference, royalty_detail_list=[share])

    def payer_node(self, told: Situation) -> dict[str, Any]:
        if told.status is Status.REFUSED:
            return {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.code-invalid"}
        if told.status is Status.UNRECOGNISED:
            return failure("LEVITATING")
        return {"access_token": "authbseB0001", "open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi9"}

    def bill(self, told: Situation) -> dict[str, Any]:
        if told.status is Status.NOT_FOUND:
            return failure("isp.bill_not_exist")
        if told.status is Status.UNRECOGNISED:
            return failure("isp.levitating")
        return ok(bill_download_url=BILL_URL)

    def signed_answer(self, name: str, node: Mapping[str, Any], forgery: Forgery | None) -> bytes:
        raw = json.dumps(node, ensure_ascii=False, separators=(",", ":"))
        other = json.dumps({**node, "msg": "Other"}, separators=(",", ":"))
        signed = other if forgery is Forgery.OTHER_SIGNATURE else raw
        signature = self.signature(signed.encode(), forgery)
        if forgery is Forgery.TAMPERED:
            raw = json.dumps({**node, "msg": "Tampered"}, separators=(",", ":"))
        sign = "" if signature is None else f',"sign":"{signature}"'
        return f'{{"{name}":{raw}{sign}}}'.encode()

    def signature(self, signed: bytes, forgery: Forgery | None) -> str | None:
        """Alipay's signature, forged as wanted; None for none at all."""
        match forgery:
            case Forgery.NO_SIGNATURE:
                return None
            case Forgery.EMPTY_SIGNATURE:
                return ""
            case Forgery.STALE:
                raise NotApplicable("Alipay signs no time that must be near")
            case _:
                key = self.stranger if forgery is Forgery.OTHER_KEY else self.alipay
                sha1 = forgery is Forgery.OTHER_ALGORITHM
                algorithm = hashes.SHA1() if sha1 else hashes.SHA256()
                return base64.b64encode(key.sign(signed, padding.PKCS1v15(), algorithm)).decode()

    def payment_notification(self, situation: Situation) -> HttpMessage:
        told = {
            "trade_no": TRADE,
            "out_trade_no": situation.reference,
            "trade_status": TRADE_STATUSES.get(situation.status, ""),
            "total_amount": yuan(situation.amount),
            "gmt_payment": self.local_time(),
            "subject": "茶点 & cake",
            **currency(situation),
        }
        head = {"notify_type": "trade_status_sync", "seller_id": SELLERS[situation.account]}
        return self.notification(situation, head, told, ("trade_no", "total_amount"))

    def agreement_notification(self, situation: Situation) -> HttpMessage:
        statuses = {Status.SUCCEEDED: "NORMAL", Status.CLOSED: "UNSIGN"}
        told = {
            "agreement_no": "20260115000000000001",
            "external_agreement_no": situation.reference,
            "personal_product_code": "CYCLE_PAY_AUTH_P",
            "sign_scene": "INDUSTRY|EDU",
            "status": statuses.get(situation.status, "LEVITATING"),
            "sign_time": self.local_time(),
            "invalid_time": "2115-02-01 00:00:00",
        }
        kind = "dut_user_sign" if situation.verb is Verb.SIGN else "dut_user_unsign"
        forged = ("agreement_no", "sign_scene")
        return self.notification(situation, {"notify_type": kind}, told, forged)

    def notification(
        self,
        situation: Situation,
        head: Mapping[str, str],
        told: Mapping[str, str],
        forged: tuple[str, str],
    ) -> HttpMessage:
        """``forged``: which field another signature is about, and which is changed on the way."""
        fields = {
            "notify_id": f"2026011500222120000{situation.event:08d}",
            "notify_time": f"2026-01-15 12:00:{situation.sending:02d}",
            "app_id": APPS[situation.account],
            "charset": "utf-8",
            "version": "1.0",
            **head,
        }
        if situation.status is not Status.EMPTY:
            fields |= told
        signed = dict(fields)
        if situation.forgery is Forgery.OTHER_SIGNATURE:
            signed[forged[0]] = f"{told[forged[0]][:-1]}9"
        signature = self.signature(sorted_text(signed), situation.forgery)
        if situation.forgery is Forgery.TAMPERED:
            fields[forged[1]] = "9999.99"
        fields["sign_type"] = "RSA" if situation.forgery is Forgery.OTHER_ALGORITHM else "RSA2"
        if signature is not None:
            fields["sign"] = signature
        form = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())
        return HttpMessage(
            method="POST",
            target="/notifications",
            headers={"content-type": "application/x-www-form-urlencoded; charset=UTF-8"},
            body=form.encode(),
        )

    def local_time(self) -> str:
        return f"{self.now + timedelta(hours=8):%Y-%m-%d %H:%M:%S}"

    def statements(self) -> Sequence[StatementSample]:
        booked = datetime(2026, 1, 14, 3, 0, 5, tzinfo=UTC)
        paid = StatementEntry(
            kind=EntryKind.PAYMENT,
            reference="att0001",
            refund_reference=None,
            channel_reference=TRADE,
            amount=Money(1234, "CNY"),
            fee_minor=7,
            booked_at=booked,
        )
        refunded = replace(
            paid,
            kind=EntryKind.REFUND,
            refund_reference="ref0001",
            amount=Money(200, "CNY"),
            fee_minor=-1,
        )
        lines = [
            "#支付宝业务明细查询",
            "#账号：[20880000000000010156]",
            "#起始日期：[2026年01月14日 00:00:00]   终止日期：[2026年01月15日 00:00:00]",
            "#-----------------------业务明细列表-----------------------",
            HEADER,
            bill_line("交易", "12.34", "", "-0.07"),
            bill_line("退款", "-2.00", "ref0001", "0.01"),
            "#-----------------------业务明细列表结束-------------------",
            "#交易合计：1笔，商家实收共12.34元，商家优惠共0.00元",
            "#退款合计：1笔，商家实收退款共-2.00元，商家优惠退款共0.00元",
            "#导出时间：[2026年01月15日 09:00:00]",
        ]
        return [StatementSample(content=bill_zip(lines), entries=[paid, refunded])]


class TestAlipay(ChannelConformance):
    harness = AlipayHarness
