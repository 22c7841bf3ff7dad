"""WeChat Pay (API v3) keeps every promise, against a counterpart written apart from its adapter.

The counterpart signs and verifies with ``cryptography`` directly: five lines for a request, three
for an answer or a notification, as the facts of API v3 say.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
from qiao.channels.wechat import channel_type
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.domain.money import Money
from qiao.domain.outcomes import Action
from tests.channels.conformance.wechat_answers import (
    REFUND_STATES,
    elsewhere,
    failure,
    only_ours,
    only_yuan,
)

GATEWAY = "https://api.mch.weixin.test"
OAUTH = "https://api.weixin.test"
API_V3_KEY = "0123456789abcdefghijklmnopqrstuv"
PLATFORM = "PUB_KEY_ID_0100000000000000000000000000000001"
SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
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
TRADE_STATES = {
    Status.PENDING: "NOTPAY",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "PAYERROR",
    Status.CLOSED: "CLOSED",
    Status.UNRECOGNISED: "LEVITATING",
}
TRANSFER_STATES = {**REFUND_STATES, Status.PENDING: "ACCEPTED", Status.REFUSED: "FAIL"}
BILL_HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
BILL_TOTALS = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)


def private_text(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_text(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


class WechatHarness(ConformanceHarness):
    """WeChat Pay's side of the wire, for a merchant in public-key mode."""

    channel_type = channel_type
    gateways = (f"{GATEWAY}/", f"{OAUTH}/")
    receiver_type = "MERCHANT_ID"
    receiver = "1900000109"

    def __init__(self) -> None:
        self.platform, self.stranger, self.merchant, self.other = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)
        )

    def settings(self, account: Account) -> Mapping[str, object]:
        ours = account is Account.OURS
        return {
            "mchid": MERCHANTS[account],
            "appid": APPS[account],
            "private_key": private_text(self.merchant if ours else self.other),
            "serial_no": SERIAL,
            "api_v3_key": API_V3_KEY,
            "platform_keys": {PLATFORM: public_text(self.platform)},
            "app_secret": "app-secret-0001",
            "gateway": GATEWAY,
            "oauth_gateway": OAUTH,
        }

    def secrets(self) -> Collection[str]:
        body = "".join(private_text(self.merchant).splitlines()[1:-1])
        return [body, API_V3_KEY, "app-secret-0001"]

    def without_declared_secrets(self, request: HttpRequest) -> HttpRequest:
        """WeChat's OAuth itself wants the AppSecret in its address."""
        if request.url.startswith(OAUTH):
            return replace(request, url=request.url.replace("app-secret-0001", ""))
        return request

    # What the channel sends

    def understand(self, sent: HttpRequest | Action) -> Understood:
        if not isinstance(sent, HttpRequest):
            raise NotApplicable("the action holds no order")
        parts = urlsplit(sent.url)
        if sent.url.startswith(OAUTH):
            return Understood(operation="oauth", effect=False, authentic=True)
        body = json.loads(sent.body) if sent.body else {}
        numbers = (
            *("out_return_no", "out_refund_no", "out_trade_no", "out_bill_no", "out_order_no"),
        )
        in_path = re.search(r"/(att|ref)[0-9a-z]{20,}", parts.path)
        amount = body.get("amount", {})
        if isinstance(amount, int):  # of a share's return
            amount = {"refund": amount}
        minors = [
            *(amount[name] for name in ("refund", "total") if name in amount),
            *(one["amount"] for one in body.get("receivers", [])),
            *([body["transfer_amount"]] if "transfer_amount" in body else []),
        ]
        minor = minors[0] if len(amount) > 1 else sum(minors)
        return Understood(
            operation=re.sub(r"/(att|ref)[0-9a-z]{20,}", "/{}", parts.path),
            effect=sent.method != "GET",
            authentic=self.is_ours(sent),
            reference=next((body[name] for name in numbers if name in body), None)
            or (in_path[0][1:] if in_path else None),
            amount=Money(minor, "CNY") if minors else None,
        )

    def is_ours(self, sent: HttpRequest) -> bool:
        scheme, _, text = sent.headers["authorization"].partition(" ")
        told = dict(re.findall(r'(\w+)="([^"]*)"', text))
        parts = urlsplit(sent.url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = (sent.method, target, told["timestamp"], told["nonce_str"], sent.body.decode())
        signed = "".join(f"{line}\n" for line in lines).encode()
        try:
            self.merchant.public_key().verify(
                base64.b64decode(told["signature"]), signed, padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return False
        near = abs(int(told["timestamp"]) - self.now.timestamp()) < 7200
        merchant = (told["mchid"], told["serial_no"]) == (MERCHANTS[Account.OURS], SERIAL)
        return near and merchant and scheme == "WECHATPAY2-SHA256-RSA2048"

    # What the other side says

    def answer(self, request: HttpRequest, situation: Situation) -> HttpResponse:
        parts = urlsplit(request.url)
        if request.url.startswith(OAUTH):
            return self.identity(situation)
        if parts.path == "/v3/billdownload/file":
            if situation.forgery is not None:
                raise NotApplicable("the file of a bill is not signed")
            return HttpResponse(status=200, body=gzip.compress(self.statements()[0].content))
        body = json.loads(request.body) if request.body else {}
        status, fields = self.fields(request.method, parts.path, body, situation)
        content = b"" if fields is None else json.dumps(fields, ensure_ascii=False).encode()
        headers = self.signed(content, situation)
        if situation.forgery is Forgery.TAMPERED:
            content = json.dumps({**(fields or {}), "extra": "tampered"}).encode()
        return HttpResponse(status=status, headers=headers, body=content)

    def fields(
        self, method: str, path: str, asked: Mapping[str, Any], told: Situation
    ) -> tuple[int, dict[str, Any] | None]:
        if told.status is Status.SYSTEM_ERROR:
            return 500, {"code": "SYSTEM_ERROR", "message": "系统异常"}
        if told.status is Status.EMPTY:
            if path.endswith(("/close", "/reverse", "/response", "/complete")):
                raise NotApplicable("an empty answer says that it is done")
            return 200, {}
        if path.endswith(("/close", "/reverse")):
            return self.ended(path, told)
        if path.startswith("/v3/refund/"):
            return self.refund(method, told)
        if path.startswith("/v3/fund-app/"):
            return self.transferred(method, told)
        if path.startswith(("/v3/profitsharing/", "/v3/merchant-service/")):
            return elsewhere(method, path, told, self)
        if path.startswith("/v3/bill/"):
            return self.bill(told)
        if method == "GET":
            return self.order(told)
        return self.created(path, told)

    def created(self, path: str, told: Situation) -> tuple[int, dict[str, Any]]:
        if told.status is Status.REFUSED:
            return 403, failure("TRADE_ERROR")
        if told.status is Status.UNRECOGNISED:
            return 400, failure("LEVITATING")
        match path.rpartition("/")[2]:
            case "native":
                return 200, {"code_url": "weixin://wxpay/bizpayurl?pr=abc"}
            case "h5":
                return 200, {"h5_url": "https://wx.tenpay.test/cgi-bin/mmpayweb?prepay_id=wx1"}
            case "codepay":
                if told.status is Status.PENDING:
                    return 400, failure("USERPAYING")
                return self.order(told)
            case _:
                return 200, {"prepay_id": "wx201410272009395522657a690389285100"}

    def order(self, told: Situation) -> tuple[int, dict[str, Any]]:
        if told.status is Status.NOT_FOUND:
            return 404, failure("ORDER_NOT_EXIST")
        return 200, self.transaction(told, told.payment_reference)

    def transaction(self, told: Situation, reference: str) -> dict[str, Any]:
        return {
            "appid": APPS[told.account],
            "mchid": MERCHANTS[told.account],
            "out_trade_no": reference,
            "transaction_id": TRADE,
            "trade_type": "NATIVE",
            "trade_state": TRADE_STATES[told.status],
            "trade_state_desc": "状态",
            "success_time": self.local_time(),
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": amount(told, total=told.amount.minor),
        }

    def ended(self, path: str, told: Situation) -> tuple[int, dict[str, Any] | None]:
        only_ours(told)
        if told.status is Status.SUCCEEDED:
            return 400, failure("ORDERPAID")
        if told.status is Status.UNRECOGNISED:
            return 400, failure("LEVITATING")
        if path.endswith("/close"):
            if told.reference != told.payment_reference:
                raise NotApplicable("an empty answer names no order")
            return 204, None
        return 200, {"out_trade_no": told.reference}

    def refund(self, method: str, told: Situation) -> tuple[int, dict[str, Any]]:
        only_ours(told)
        if told.status is Status.NOT_FOUND:
            return 404, failure("RESOURCE_NOT_EXISTS")
        if told.verb is Verb.REFUND and told.status is Status.REFUSED:
            if method == "GET":
                return 404, failure("RESOURCE_NOT_EXISTS")
            return 400, failure("INVALID_REQUEST")
        if told.verb is Verb.REFUND and told.status is Status.UNRECOGNISED:
            return 400, failure("LEVITATING")
        return 200, {
            "refund_id": "50000000382019052709732678859",
            "out_refund_no": told.reference,
            "out_trade_no": told.payment_reference,
            "transaction_id": TRADE,
            "status": REFUND_STATES[told.status],
            "success_time": self.local_time(),
            "amount": amount(told, total=told.payment_amount.minor, refund=told.amount.minor),
        }

    def transferred(self, method: str, told: Situation) -> tuple[int, dict[str, Any]]:
        only_ours(told)
        only_yuan(told)
        if told.status is Status.NOT_FOUND:
            return 404, failure("NOT_FOUND")
        if method == "POST" and told.status is Status.REFUSED:
            return 403, failure("NOT_ENOUGH")
        return 200, {
            "out_bill_no": told.reference,
            "transfer_bill_no": "1330000071100999991182020050700019480001",
            "state": TRANSFER_STATES[told.status],
            "transfer_amount": told.amount.minor,
            "update_time": self.local_time(),
        }

    def bill(self, told: Situation) -> tuple[int, dict[str, Any]]:
        if told.status is Status.NOT_FOUND:
            return 400, failure("NO_STATEMENT_EXIST")
        if told.status is Status.UNRECOGNISED:
            return 400, failure("LEVITATING")
        return 200, {
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(self.statements()[0].content).hexdigest(),
            "download_url": f"{GATEWAY}/v3/billdownload/file?token=abc",
        }

    def identity(self, told: Situation) -> HttpResponse:
        if told.forgery is not None:
            raise NotApplicable("who a payer is is told without a signature, under TLS")
        fields: dict[str, Any] = {"access_token": "at", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}
        errors = {Status.REFUSED: 40029, Status.UNRECOGNISED: 99999, Status.SYSTEM_ERROR: -1}
        if told.status in errors:
            fields = {"errcode": errors[told.status], "errmsg": "error"}
        elif told.status is Status.EMPTY:
            fields = {}
        return HttpResponse(status=200, body=json.dumps(fields).encode())

    def signed(self, body: bytes, told: Situation) -> dict[str, str]:
        """The headers under which the bytes go out, forged as wanted."""
        moment = self.now - timedelta(hours=1) if told.forgery is Forgery.STALE else self.now
        moment += timedelta(seconds=told.sending - 1)
        timestamp, nonce = str(int(moment.timestamp())), f"nonce{told.event}{told.sending}"
        content = b"{}" if told.forgery is Forgery.OTHER_SIGNATURE else body
        key = self.stranger if told.forgery is Forgery.OTHER_KEY else self.platform
        sha1 = told.forgery is Forgery.OTHER_ALGORITHM
        signature = base64.b64encode(
            key.sign(
                f"{timestamp}\n{nonce}\n".encode() + content + b"\n",
                padding.PKCS1v15(),
                hashes.SHA1() if sha1 else hashes.SHA256(),
            )
        ).decode()
        headers = {
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-serial": PLATFORM,
            "wechatpay-signature": signature,
            "wechatpay-signature-type": "WECHATPAY2-SHA1-RSA2048"
            if sha1
            else "WECHATPAY2-SHA256-RSA2048",
        }
        if told.forgery is Forgery.EMPTY_SIGNATURE:
            headers["wechatpay-signature"] = ""
        if told.forgery is Forgery.NO_SIGNATURE:
            del headers["wechatpay-signature"]
        return headers

    # Notifications

    def payment_notification(self, situation: Situation) -> HttpMessage:
        if situation.status not in (Status.SUCCEEDED, Status.UNRECOGNISED, Status.EMPTY):
            raise NotApplicable("only a success is notified")
        told = (
            {}
            if situation.status is Status.EMPTY
            else self.transaction(situation, situation.reference)
        )
        return self.notification("TRANSACTION.SUCCESS", told, situation)

    def refund_notification(self, situation: Situation) -> HttpMessage:
        if situation.status is Status.PENDING:
            raise NotApplicable("a refund in progress is not notified")
        told: dict[str, Any] = {}
        if situation.status is not Status.EMPTY:
            told = {
                "mchid": MERCHANTS[situation.account],
                "out_trade_no": situation.payment_reference,
                "transaction_id": TRADE,
                "out_refund_no": situation.reference,
                "refund_id": "50000000382019052709732678859",
                "refund_status": REFUND_STATES[situation.status],
                "success_time": self.local_time(),
                "amount": amount(
                    situation,
                    total=situation.payment_amount.minor,
                    refund=situation.amount.minor,
                ),
            }
        if situation.account is Account.OTHER_APP:
            raise NotApplicable("a refund's notification names no app")
        return self.notification("REFUND.SUCCESS", told, situation)

    def notification(self, kind: str, told: dict[str, Any], situation: Situation) -> HttpMessage:
        sealed = AESGCM(API_V3_KEY.encode())
        plain = json.dumps(told, ensure_ascii=False).encode()
        envelope = {
            "id": f"EV-2026011500000000{situation.event:08d}",
            "create_time": self.local_time(),
            "event_type": kind,
            "resource_type": "encrypt-resource",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "original_type": "transaction",
                "associated_data": "transaction",
                "nonce": "0123456789ab",
                "ciphertext": base64.b64encode(
                    sealed.encrypt(b"0123456789ab", plain, b"transaction")
                ).decode(),
            },
        }
        body = json.dumps(envelope).encode()
        headers = self.signed(body, situation)
        if situation.forgery is Forgery.TAMPERED:
            body = json.dumps({**envelope, "summary": "tampered"}).encode()
        return HttpMessage(method="POST", target="/notifications", headers=headers, body=body)

    def local_time(self) -> str:
        return f"{self.now + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}+08:00"

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
        lines = [
            BILL_HEADER,
            bill_line("SUCCESS", "12.34", "0", "0.00", "0.07400"),
            bill_line("REFUND", "12.34", "ref0001", "2.00", "-0.01000"),
            BILL_TOTALS,
            "`2.0,`12.34,`2.00,`0.00,`0.06400,`12.34,`2.00",
        ]
        content = "\ufeff" + "".join(f"{line}\r\n" for line in lines)
        return [StatementSample(content=content.encode(), entries=[paid, refunded])]


def amount(told: Situation, **values: int) -> dict[str, Any]:
    return {**values, "payer_total": told.amount.minor, "currency": told.amount.currency}


def bill_line(state: str, paid: str, refund: str, back: str, fee: str) -> str:
    refunding = state == "REFUND"
    billed = "0.00" if refunding else paid
    order = f"2026-01-14 11:00:05|{APPS[Account.OURS]}|{MERCHANTS[Account.OURS]}|0||{TRADE}|att0001"
    number = "50000000382019052709732678859" if refunding else "0"
    done = "ORIGINAL|SUCCESS" if refunding else "|"
    line = (
        f"{order}|oUpF8uMuAJO_M2pxb1Q9zNjWeS6o|NATIVE|{state}|OTHERS|CNY|{billed}|0.00|{number}"
        f"|{refund}|{back}|0.00|{done}|茶点||{fee}|0.60%|{billed}|{back}|"
    )
    return ",".join(f"`{cell}" for cell in line.split("|"))


class TestWechat(ChannelConformance):
    harness = WechatHarness
