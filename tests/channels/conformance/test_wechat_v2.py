"""WeChat Pay (API v2) keeps every promise, against a counterpart written apart from its adapter.

The counterpart writes XML by hand and signs with ``hashlib`` and ``hmac`` directly, as the facts of
API v2 say; one harness for each algorithm.
"""

import gzip
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from lxml import etree

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
)
from qiao.channels.interface import EntryKind, StatementEntry
from qiao.channels.wechat import channel_type
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.domain.money import Money
from qiao.domain.outcomes import Action, Redirect
from tests.channels.conformance import wechat_papay as papay
from tests.channels.conformance.certificates import identity
from tests.channels.conformance.wechat_v2_wire import Fields, digest, sealed, xml

GATEWAY = "https://api.mch.weixin.test"
OAUTH = "https://api.weixin.test"
API_KEY = "192006250b4c09247ec02edce69f6a2d"
OTHER_KEY = "8934e7d15453e97507ef794cf7b0519d"
MERCHANTS = {
    Account.OURS: "1900000001",
    Account.OTHER_MERCHANT: "1900000002",
    Account.OTHER_APP: "1900000001",
}
APPS = {
    Account.OURS: "wx0000000000000001",
    Account.OTHER_MERCHANT: "wx0000000000000002",
    Account.OTHER_APP: "wx0000000000000003",
}
TRADE = "4200000000202601150000000001"
REFUND = "50000000382019052709732678859"
PAYER = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
TRADE_STATES = {
    Status.PENDING: "NOTPAY",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "PAYERROR",
    Status.CLOSED: "CLOSED",
    Status.UNRECOGNISED: "LEVITATING",
}
REFUND_STATES = {
    Status.PENDING: "PROCESSING",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "REFUNDCLOSE",
    Status.UNRECOGNISED: "LEVITATING",
}
QUESTIONS = ("/pay/orderquery", "/pay/refundquery", "/pay/downloadbill", *papay.QUESTIONS)
OLD_BILL_HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,总金额,企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率"
)
OLD_BILL_TOTALS = "总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额"
BILL_HEADER = (
    OLD_BILL_HEADER.replace("总金额,企业红包金额", "应结订单金额,代金券金额").replace(
        "企业红包退款金额", "充值券退款金额"
    )
    + ",订单金额,申请退款金额,费率备注"
)
BILL_TOTALS = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)


class WechatV2Harness(ConformanceHarness):
    """WeChat Pay's side of the wire, for a merchant on HMAC-SHA256."""

    channel_type = channel_type
    gateways = (f"{GATEWAY}/", f"{OAUTH}/")
    refunds_are_only_accepted = True
    sign_type = "HMAC-SHA256"
    other_sign_type = "MD5"

    def settings(self, account: Account) -> Mapping[str, object]:
        ours = account is Account.OURS
        certificate, private_key = identity("ours" if ours else "theirs")
        return {
            "api_version": "v2",
            "mchid": MERCHANTS[account],
            "appid": APPS[account],
            "api_key": API_KEY if ours else OTHER_KEY,
            "sign_type": self.sign_type,
            "certificate": certificate,
            "private_key": private_key,
            "gateway_ca": identity("ca")[0],
            "app_secret": "app-secret-0001",
            "gateway": GATEWAY,
            "oauth_gateway": OAUTH,
        }

    def secrets(self) -> Collection[str]:
        body = "".join(identity("ours")[1].splitlines()[1:-1])
        return [body, API_KEY, "app-secret-0001"]

    def without_declared_secrets(self, request: HttpRequest) -> HttpRequest:
        """WeChat's OAuth itself wants the AppSecret in its address."""
        if request.url.startswith(OAUTH):
            return replace(request, url=request.url.replace("app-secret-0001", ""))
        return request

    # What the channel sends

    def understand(self, sent: HttpRequest | Action) -> Understood:
        if not isinstance(sent, HttpRequest):
            raise NotApplicable("the action holds no order")
        if sent.url.startswith(OAUTH):
            return Understood(operation="oauth", effect=False, authentic=True)
        path = urlsplit(sent.url).path
        fields = {str(one.tag): one.text or "" for one in etree.fromstring(sent.body)}
        names = ("out_refund_no", "out_trade_no", "contract_code")
        number = next((fields[name] for name in names if name in fields), None)
        minor = fields.get("refund_fee") or fields.get("total_fee")
        return Understood(
            operation=path,
            effect=path not in QUESTIONS,
            authentic=self.is_ours(sent, fields),
            reference=number,
            amount=Money(int(minor), "CNY") if minor else None,
        )

    def is_ours(self, sent: HttpRequest, fields: Mapping[str, str]) -> bool:
        mutual = urlsplit(sent.url).path.startswith("/secapi/")
        certificate = sent.client_certificate
        shown = (certificate.certificate, certificate.private_key) if certificate else None
        return (
            (fields["appid"], fields["mch_id"]) == (APPS[Account.OURS], MERCHANTS[Account.OURS])
            and fields.get("sign_type", "MD5") == self.sign_type
            and fields["sign"] == digest(fields, API_KEY, self.sign_type)
            and shown == (identity("ours") if mutual else None)
            and sent.trusted_ca == identity("ca")[0]
        )

    # What the other side says

    def answer(self, request: HttpRequest, situation: Situation) -> HttpResponse:
        if request.url.startswith(OAUTH):
            return self.identity(situation)
        path = urlsplit(request.url).path
        if path == "/pay/downloadbill":
            return self.bill(situation)
        told = self.fields(path, situation)
        return HttpResponse(status=200, body=self.signed(told, situation))

    def fields(self, path: str, told: Situation) -> Fields:
        """What is told besides who is told; with ``result_code`` FAIL where it is refused."""
        if told.status is Status.SYSTEM_ERROR:
            return failure("SYSTEMERROR")
        if told.status is Status.EMPTY:
            return {}
        match path:
            case "/pay/unifiedorder":
                return self.ordered(told)
            case "/pay/micropay":
                return self.micropaid(told)
            case "/pay/orderquery" | "/pay/paporderquery":
                return self.order(told)
            case "/pay/pappayapply" | "/papay/querycontract" | "/papay/deletecontract":
                return papay.agreed(path, told)
            case "/pay/closeorder" | "/secapi/pay/reverse":
                return self.ended(path, told)
            case "/secapi/pay/refund":
                return self.refunding(told)
            case _:
                return self.refund(told)

    def ordered(self, told: Situation) -> Fields:
        if told.status is Status.REFUSED:
            return failure("NOAUTH")
        if told.status is Status.UNRECOGNISED:
            return failure("LEVITATING")
        prepay_id = "wx201410272009395522657a690389285100"
        return {
            "result_code": "SUCCESS",
            "prepay_id": prepay_id,
            "code_url": "weixin://wxpay/bizpayurl?pr=abc",
            "mweb_url": f"https://wx.tenpay.test/cgi-bin/mmpayweb?prepay_id={prepay_id}",
        }

    def micropaid(self, told: Situation) -> Fields:
        codes = {
            Status.REFUSED: "NOTENOUGH",
            Status.PENDING: "USERPAYING",
            Status.UNRECOGNISED: "LEVITATING",
        }
        if told.status in codes:
            return failure(codes[told.status])
        return {"result_code": "SUCCESS", **self.transaction(told)}

    def order(self, told: Situation) -> Fields:
        if told.status is Status.NOT_FOUND:
            return failure("ORDERNOTEXIST")
        state = {"trade_state": TRADE_STATES[told.status], "trade_state_desc": "状态"}
        return {"result_code": "SUCCESS", **self.transaction(told), **state}

    def transaction(self, told: Situation) -> Fields:
        return {
            "openid": PAYER,
            "is_subscribe": "Y",
            "trade_type": "NATIVE",
            "bank_type": "OTHERS",
            "total_fee": str(told.amount.minor),
            "fee_type": told.amount.currency,
            "cash_fee": str(told.amount.minor),
            "transaction_id": f"{TRADE[:-1]}{told.event}",
            "out_trade_no": told.payment_reference,
            "attach": "",
            "time_end": self.local_time(),
        }

    def ended(self, path: str, told: Situation) -> Fields:
        if told.account is not Account.OURS or told.reference != told.payment_reference:
            raise NotApplicable("the answer names no order")
        if told.status is Status.SUCCEEDED:
            return failure("ORDERPAID")
        if told.status is Status.UNRECOGNISED:
            return failure("LEVITATING")
        return {"result_code": "SUCCESS", "recall": "N" if "reverse" in path else ""}

    def refunding(self, told: Situation) -> Fields:
        if told.status is Status.REFUSED:
            return failure("NOTENOUGH")
        if told.status is Status.UNRECOGNISED:
            return failure("LEVITATING")
        return {
            "result_code": "SUCCESS",
            "transaction_id": TRADE,
            "out_trade_no": told.payment_reference,
            "out_refund_no": told.reference,
            "refund_id": REFUND,
            "refund_fee": str(told.amount.minor),
            "total_fee": str(told.payment_amount.minor),
            "fee_type": told.amount.currency,
        }

    def refund(self, told: Situation) -> Fields:
        """Ours is the second of the order's refunds."""
        if told.status is Status.NOT_FOUND:
            return failure("REFUNDNOTEXIST")
        return {
            "result_code": "SUCCESS",
            "transaction_id": TRADE,
            "out_trade_no": told.payment_reference,
            "total_fee": str(told.payment_amount.minor),
            "fee_type": told.amount.currency,
            "refund_count": "2",
            "out_refund_no_0": "ref_of_somebody_else",
            "refund_id_0": "50000000000000000000000000001",
            "refund_fee_0": "1",
            "refund_status_0": "SUCCESS",
            "out_refund_no_1": told.reference,
            "refund_id_1": REFUND,
            "refund_fee_1": str(told.amount.minor),
            "refund_status_1": REFUND_STATES[told.status],
            "refund_success_time_1": "2026-01-15 12:00:00",
        }

    def bill(self, told: Situation) -> HttpResponse:
        if told.forgery is not None:
            raise NotApplicable("neither a bill nor the refusal of one is signed")
        reasons = {
            Status.NOT_FOUND: "No Bill Exist",
            Status.UNRECOGNISED: "levitating",
            Status.SYSTEM_ERROR: "system error",
            Status.EMPTY: "",
        }
        if told.status in reasons:
            fields = {"return_code": "FAIL", "return_msg": reasons[told.status]}
            return HttpResponse(status=200, body=xml(fields))
        return HttpResponse(status=200, body=gzip.compress(self.statements()[0].content))

    def identity(self, told: Situation) -> HttpResponse:
        if told.forgery is not None:
            raise NotApplicable("who a payer is is told without a signature, under TLS")
        fields: dict[str, object] = {"access_token": "at", "openid": PAYER}
        errors = {Status.REFUSED: 40029, Status.UNRECOGNISED: 99999, Status.SYSTEM_ERROR: -1}
        if told.status in errors:
            fields = {"errcode": errors[told.status], "errmsg": "error"}
        elif told.status is Status.EMPTY:
            fields = {}
        return HttpResponse(status=200, body=json.dumps(fields).encode())

    def signed(self, told: Fields, situation: Situation, *, without: str = "") -> bytes:
        """The message, forged as wanted; the signature is in its middle."""
        if situation.forgery is Forgery.STALE:
            raise NotApplicable("the wire carries no signed time")
        fields = {
            "return_code": "SUCCESS",
            "return_msg": "OK",
            "appid": APPS[situation.account],
            "mch_id": MERCHANTS[situation.account],
            "nonce_str": f"nonce{situation.event}{situation.sending}",
            "unknown_to_everybody": "signed all the same",
        }
        downgrade = situation.forgery is Forgery.OTHER_ALGORITHM
        algorithm = self.other_sign_type if downgrade else self.sign_type
        if downgrade or self.sign_type != "MD5":
            fields["sign_type"] = algorithm
        fields |= told
        fields.pop(without, None)
        key = OTHER_KEY if situation.forgery is Forgery.OTHER_KEY else API_KEY
        other = situation.forgery is Forgery.OTHER_SIGNATURE
        fields["sign"] = digest({**fields, "attach": "x"} if other else fields, key, algorithm)
        match situation.forgery:
            case Forgery.NO_SIGNATURE:
                del fields["sign"]
            case Forgery.EMPTY_SIGNATURE:
                fields["sign"] = ""
            case Forgery.TAMPERED:
                fields["bank_type"] = "TAMPERED"
            case _:
                pass
        return xml(fields)

    # Notifications

    def payment_notification(self, situation: Situation) -> HttpMessage:
        if situation.status not in (Status.SUCCEEDED, Status.UNRECOGNISED, Status.EMPTY):
            raise NotApplicable("only a success is notified")
        told: Fields = {}
        if situation.status is Status.SUCCEEDED:
            told = {"result_code": "SUCCESS", **self.transaction(situation)}
        elif situation.status is Status.UNRECOGNISED:
            told = {"result_code": "LEVITATING", **self.transaction(situation)}
        told |= {"out_trade_no": situation.reference} if told else {}
        return message(self.signed(told, situation))

    def refund_notification(self, situation: Situation) -> HttpMessage:
        if situation.status is Status.PENDING:
            raise NotApplicable("a refund in progress is not notified")
        if situation.amount.currency != "CNY":
            raise NotApplicable("the notification has no currency: it is yuan")
        told: Fields = {}
        if situation.status is not Status.EMPTY:
            told = {
                "out_refund_no": situation.reference,
                "out_trade_no": situation.payment_reference,
                "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
                "refund_fee": str(situation.amount.minor),
                "refund_id": f"{REFUND[:-1]}{situation.event}",
                "refund_recv_accout": "支付用户零钱",
                "refund_request_source": "API",
                "refund_status": REFUND_STATES[situation.status],
                "settlement_refund_fee": str(situation.amount.minor),
                "success_time": "2026-01-15 12:00:00",
                "total_fee": str(situation.payment_amount.minor),
                "transaction_id": TRADE,
            }
        info = sealed(xml(told, "root"), API_KEY)
        match situation.forgery:
            case Forgery.OTHER_KEY:
                info = sealed(xml(told, "root"), OTHER_KEY)
            case Forgery.TAMPERED:
                info = info[:40] + ("A" if info[40] != "A" else "B") + info[41:]
            case None:
                pass
            case _:
                raise NotApplicable("it has no signature: that it decrypts proves it")
        fields = {
            "return_code": "SUCCESS",
            "appid": APPS[situation.account],
            "mch_id": MERCHANTS[situation.account],
            "nonce_str": f"nonce{situation.event}{situation.sending}",
            "req_info": info.rstrip("="),
        }
        return message(xml(fields))

    def local_time(self) -> str:
        return f"{self.now + timedelta(hours=8):%Y%m%d%H%M%S}"

    def statements(self) -> Sequence[StatementSample]:
        paid = StatementEntry(
            kind=EntryKind.PAYMENT,
            reference="att0001",
            refund_reference=None,
            channel_reference=TRADE,
            amount=Money(1234, "CNY"),
            fee_minor=7,
            booked_at=datetime(2026, 1, 14, 3, 0, 5, tzinfo=UTC),
        )
        refunded = replace(
            paid,
            kind=EntryKind.REFUND,
            refund_reference="ref0001",
            amount=Money(200, "CNY"),
            fee_minor=-1,
        )
        today, before = (
            (BILL_HEADER, BILL_TOTALS, "`2.0,`12.34,`2.00,`0.00,`0.06400,`12.34,`2.00"),
            (OLD_BILL_HEADER, OLD_BILL_TOTALS, "`2,`12.34,`2.00,`0.00,`0.06400"),
        )
        return [
            StatementSample(content=bill(*form), entries=[paid, refunded])
            for form in (today, before)
        ]


class WechatV2Md5Harness(WechatV2Harness):
    """The same for a merchant who is still on MD5, where messages name no algorithm."""

    sign_type = "MD5"
    other_sign_type = "HMAC-SHA256"
    plan = papay.PLAN

    def understand(self, sent: HttpRequest | Action) -> Understood:
        if not isinstance(sent, Redirect):
            return super().understand(sent)
        fields = papay.asked_in(sent.url)
        named = (fields["appid"], fields["mch_id"])
        ours = named == (APPS[Account.OURS], MERCHANTS[Account.OURS])
        return Understood(
            operation=papay.SIGNING,
            effect=True,
            authentic=ours and fields["sign"] == digest(fields, API_KEY, "MD5"),
            reference=fields["contract_code"],
        )

    def agreement_notification(self, situation: Situation) -> HttpMessage:
        return message(self.signed(papay.notice(situation), situation, without="appid"))


def message(body: bytes) -> HttpMessage:
    headers = {"content-type": "text/xml"}
    return HttpMessage(method="POST", target="/notifications", headers=headers, body=body)


def failure(code: str) -> Fields:
    recall = {"recall": "Y"} if code == "SYSTEMERROR" else {}
    return {"result_code": "FAIL", "err_code": code, "err_code_des": escape("原因"), **recall}


def bill(header: str, totals: str, sums: str) -> bytes:
    columns = header.count(",") + 1
    lines = [
        header,
        bill_line(columns, "SUCCESS", "12.34", "0", "0.00", "0.07400"),
        bill_line(columns, "REFUND", "0.00", "ref0001", "2.00", "-0.01000"),
        totals,
        sums,
    ]
    return ("\ufeff" + "".join(f"{line}\r\n" for line in lines)).encode()


def bill_line(columns: int, state: str, paid: str, refund: str, back: str, fee: str) -> str:
    order = f"2026-01-14 11:00:05|{APPS[Account.OURS]}|{MERCHANTS[Account.OURS]}|0||{TRADE}|att0001"
    refunding = state == "REFUND"
    number, done = (REFUND, "ORIGINAL|SUCCESS") if refunding else ("0", "|")
    line = (
        f"{order}|{PAYER}|NATIVE|{state}|OTHERS|CNY|{paid}|0.00|{number}|{refund}|{back}|0.00|{done}"
        f"|茶点||{fee}|0.60%|{paid}|{back}|"
    )
    return ",".join(f"`{cell}" for cell in line.split("|")[:columns])


class TestWechatV2(ChannelConformance):
    harness = WechatV2Harness


class TestWechatV2Md5(ChannelConformance):
    harness = WechatV2Md5Harness
