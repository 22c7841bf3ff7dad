"""Receivers of shares are bound to the merchant (分账关系), and unbound; each again does no harm.

Source: https://opendocs.alipay.com/open/ — alipay.trade.royalty.relation.bind and .unbind: one list
of receivers, a request number of 32 characters, ``result_code`` SUCCESS or FAIL.
"""

from typing import Any, Final

from qiao.channels.alipay.codes import RECEIVER_REFUSALS
from qiao.channels.alipay.gateway import Gateway
from qiao.channels.requests import Context, ReceiverRequest
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import BindingOutcome, BindingRefused, Bound, Unbound

TYPES: Final = frozenset({"userId", "loginName", "openId"})
MAX_REFERENCE: Final = 32


def bind_receiver(
    gateway: Gateway, request: ReceiverRequest, context: Context
) -> Operation[BindingOutcome]:
    """Bind the receiver; one that is named by its login needs its real name too."""
    if request.receiver_type == "loginName" and not request.name:
        raise InvalidInput(
            "missing", field="name", remedy="give the real name of the login's owner"
        )
    named = {"name": request.name, "memo": request.memo}
    method = "alipay.trade.royalty.relation.bind"
    return (yield from _ask(gateway, method, request, named, Bound(), context))


def unbind_receiver(
    gateway: Gateway, request: ReceiverRequest, context: Context
) -> Operation[BindingOutcome]:
    """Unbind the receiver."""
    method = "alipay.trade.royalty.relation.unbind"
    return (yield from _ask(gateway, method, request, {}, Unbound(), context))


def _ask(
    gateway: Gateway,
    method: str,
    request: ReceiverRequest,
    named: dict[str, str | None],
    done: BindingOutcome,
    context: Context,
) -> Operation[BindingOutcome]:
    """Raises InvalidInput."""
    if request.receiver_type not in TYPES:
        raise InvalidInput(
            "not a kind of receiver that Alipay knows",
            field="receiver_type",
            remedy=f"give one of: {', '.join(sorted(TYPES))}",
        )
    if not 0 < len(request.reference) <= MAX_REFERENCE:
        raise InvalidInput(
            "empty or too long",
            field="reference",
            remedy=f"give 1 to {MAX_REFERENCE} characters",
        )
    who = {"type": request.receiver_type, "account": request.receiver, **named}
    content: dict[str, Any] = {
        "out_request_no": request.reference,
        "receiver_list": [{name: text for name, text in who.items() if text is not None}],
    }
    answer = yield from gateway.call(method, content, context)
    if answer.business_code in RECEIVER_REFUSALS:
        return BindingRefused(
            code=RECEIVER_REFUSALS[answer.business_code],
            channel_code=answer.sub_code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    result = answer.text("result_code")
    if result == "FAIL":
        return BindingRefused(code="payee_not_allowed", channel_code=result)
    if result != "SUCCESS":
        raise answer.open()
    return done
