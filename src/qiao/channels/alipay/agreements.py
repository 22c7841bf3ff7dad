"""Agreements (周期扣款 and 商家扣款): signed in the wallet, asked about, ended, and charged.

Sources: https://opendocs.alipay.com/open/ — alipay.user.agreement.page.sign, .query and .unsign,
and alipay.trade.pay with agreement_params; the models of the same names in Alipay's own SDK; and
for the days on which a charge is taken https://opendocs.alipay.com/support/01rg2g (修改扣款时间).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from qiao.channels.alipay.codes import (
    AGREEMENT_NOT_FOUND,
    ALREADY_PAID,
    CHARGE_DECLINES,
    gateway_refusal,
)
from qiao.channels.alipay.gateway import Gateway
from qiao.channels.alipay.payments import declined, query_payment, taken
from qiao.channels.alipay.products import MAX_SUBJECT_CHARACTERS, REFERENCE
from qiao.channels.alipay.texts import time_from, yuan_text
from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
    ChargeRule,
    Context,
    PaymentQuery,
    Product,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    Action,
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    NotFound,
    PaymentOutcome,
    QrCode,
    Redirect,
)
from qiao.domain.periods import ChargeWindow, PeriodUnit

WAYS: Final[Mapping[Product, str]] = {Product.QR: "QRCODE", Product.H5: "ALIPAYAPP"}
"""access_params.channel, by how the customer comes to the page on which they sign."""
WINDOW: Final = ChargeWindow(zone="Asia/Shanghai", days_before=5, days_after=0)
"""A charge is taken on the day that the rule sets and on the five before it, and not later: the
merchant tries again within these days, or stops serving."""
SIGNED: Final = "NORMAL"
NOT_SIGNED: Final = "TEMP"
ENDED: Final = frozenset({"UNSIGN"})
"""Told by notifications; a question about such an agreement finds none."""
_OPEN_IN_WALLET: Final = "alipays://platformapi/startapp?appId=20000067&url="
_REFERENCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_SCENE: Final = re.compile(r"[0-9A-Z_]{1,32}\|[0-9A-Z_]{1,32}", re.ASCII)
_NO_SCENE: Final = "DEFAULT|DEFAULT"
_MAX_NAME_CHARACTERS: Final = 100
_MIN_DAYS: Final = 7
_LAST_DAY_OF_MONTH: Final = 28
_DAYS: Final = {PeriodUnit.DAY: 1, PeriodUnit.WEEK: 7}


def sign(
    gateway: Gateway, request: AgreementRequest, context: Context
) -> Operation[AgreementOutcome]:
    """Where the customer signs. Nothing is sent from here: the wallet carries it to Alipay.

    The page is shown in the wallet alone: by a QR code, or on a phone by the wallet's own scheme.
    """
    content = _content(gateway, request)
    url = gateway.browser_url(
        "alipay.user.agreement.page.sign",
        content,
        context,
        notify_url=request.notify_url,
        return_url=request.return_url,
    )
    action: Action = QrCode(content=url)
    if request.product is Product.H5:
        action = Redirect(url=f"{_OPEN_IN_WALLET}{quote(url, safe='')}")
    yield from ()
    return AgreementPending(action=action)


def query_agreement(
    gateway: Gateway, query: AgreementQuery, context: Context
) -> Operation[AgreementOutcome]:
    """Ask by our number. Alipay knows no agreement that was not signed, or that was ended.

    STOP (暂停) is neither signed nor ended: it stays open what it will be.
    """
    answer = yield from gateway.call(
        "alipay.user.agreement.query", _named(gateway, query), context, effect=False
    )
    if answer.business_code == AGREEMENT_NOT_FOUND:
        return AgreementEnded() if query.channel_reference is not None else NotFound()
    if not answer.succeeded:
        raise answer.open()
    answer.expect("external_agreement_no", query.reference)
    status = answer.text("status")
    if status == NOT_SIGNED:
        return AgreementPending()
    if status != SIGNED:
        raise AnswerUnreadable(f"{answer.method} answered a status that leaves it open")
    return active(answer.fields)


def end_agreement(
    gateway: Gateway, query: AgreementQuery, context: Context
) -> Operation[AgreementOutcome]:
    """End it. One that Alipay does not know is signed no more, or never was: NotFound.

    The answer to a success names nothing, so the signed answer to this request must do.
    """
    content = _named(gateway, query)
    answer = yield from gateway.call("alipay.user.agreement.unsign", content, context)
    if answer.business_code == AGREEMENT_NOT_FOUND:
        return AgreementEnded() if query.channel_reference is not None else NotFound()
    if not answer.succeeded:
        raise answer.open()
    return AgreementEnded(channel_reference=query.channel_reference)


def charge(
    gateway: Gateway, request: AgreementCharge, context: Context
) -> Operation[PaymentOutcome]:
    """Take money; a trade like any other. The same ``out_trade_no`` never takes it twice."""
    content = {
        "out_trade_no": _checked(request),
        "total_amount": yuan_text(request.amount),
        "subject": request.description,
        "product_code": gateway.account.settings.agreement_product,
        "agreement_params": {"agreement_no": request.agreement_reference},
    }
    method = "alipay.trade.pay"
    answer = yield from gateway.call(method, content, context, notify_url=request.notify_url)
    if answer.business_code in ALREADY_PAID:
        asked = PaymentQuery(reference=request.reference, amount=request.amount)
        return (yield from query_payment(gateway, asked, context))
    if answer.refused_by_gateway:
        return declined(gateway_refusal(answer), answer)
    if answer.business_code in CHARGE_DECLINES:
        return declined(CHARGE_DECLINES[answer.business_code], answer)
    return taken(answer, request.reference, request.amount)


def active(fields: Mapping[str, Any]) -> AgreementActive:
    """An agreement in force, from an answer or a notification; raises AnswerUnreadable."""
    number = fields.get("agreement_no")
    if not isinstance(number, str) or not number:
        raise AnswerUnreadable("an agreement has no agreement_no")
    signed_at, valid_until = (_moment(fields.get(name)) for name in ("sign_time", "invalid_time"))
    return AgreementActive(channel_reference=number, signed_at=signed_at, valid_until=valid_until)


def _moment(text: object) -> datetime | None:
    return time_from(text) if isinstance(text, str) and text else None


def _named(gateway: Gateway, query: AgreementQuery) -> dict[str, Any]:
    """Alipay finds an agreement by our number together with its product and scene."""
    return {
        "personal_product_code": _personal_product(gateway),
        "sign_scene": query.plan,
        "external_agreement_no": query.reference,
    }


def _personal_product(gateway: Gateway) -> str:
    return f"{gateway.account.settings.agreement_product}_P"


def _content(gateway: Gateway, request: AgreementRequest) -> dict[str, Any]:
    """Raises InvalidInput."""
    _check(request)
    return {
        "product_code": gateway.account.settings.agreement_product,
        "personal_product_code": _personal_product(gateway),
        "sign_scene": request.plan,
        "external_agreement_no": request.reference,
        "external_logon_id": request.display_name,
        "access_params": {"channel": WAYS[request.product]},
        "period_rule_params": _rule(request.rule),
    }


def _rule(rule: ChargeRule) -> dict[str, Any]:
    """Alipay counts in days or months. Raises InvalidInput."""
    monthly = rule.unit is PeriodUnit.MONTH
    period = rule.count if monthly else rule.count * _DAYS[rule.unit]
    if not monthly and period < _MIN_DAYS:
        raise InvalidInput(
            "Alipay takes no charge more often than every 7 days",
            field="period",
            remedy="give 7 days or more",
        )
    if monthly and rule.first_on.day > _LAST_DAY_OF_MONTH:
        raise InvalidInput(
            "Alipay takes no monthly charge after the 28th, which some months have not",
            field="first_charge_on",
            remedy="give a day of the month from 1 to 28, or a period in days",
        )
    return {
        "period_type": "MONTH" if monthly else "DAY",
        "period": period,
        "execute_time": rule.first_on.isoformat(),
        "single_amount": yuan_text(rule.max_amount, field="max_amount"),
    }


def _check(request: AgreementRequest) -> None:
    """Raises InvalidInput."""
    plan, name = request.plan or "", request.display_name
    problems = {
        "product": request.product not in WAYS
        and ("Alipay lets no agreement be signed by it", f"give one of: {', '.join(sorted(WAYS))}"),
        "reference": not _REFERENCE.fullmatch(request.reference)
        and ("not an Alipay agreement number", "give 1 to 32 letters and digits"),
        "plan": (not _SCENE.fullmatch(plan) or plan == _NO_SCENE)
        and ("not a scene (sign_scene)", "give what Alipay agreed on, such as INDUSTRY|EDU"),
        "display_name": not 0 < len(name) <= _MAX_NAME_CHARACTERS
        and ("empty or too long", f"give 1 to {_MAX_NAME_CHARACTERS} characters"),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidInput(problem[0], field=field, remedy=problem[1])


def _checked(request: AgreementCharge) -> str:
    """Raises InvalidInput."""
    if not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "not an Alipay order number",
            field="reference",
            remedy="give 1 to 64 letters, digits and underscores",
        )
    if not request.description.strip() or len(request.description) > MAX_SUBJECT_CHARACTERS:
        raise InvalidInput(
            "empty or too long",
            field="description",
            remedy=f"give 1 to {MAX_SUBJECT_CHARACTERS} characters",
        )
    return request.reference
