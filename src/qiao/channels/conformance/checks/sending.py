"""What goes out: to the gateway and nowhere else, well formed, authentic, and right."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

from qiao.channels.conformance.driving import Run
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import (
    Trial,
    implemented,
    payment_trial,
    products,
    refund_trials,
    trials,
)
from qiao.channels.conformance.vocabulary import NotApplicable, Status, require
from qiao.channels.conformance.wires import understood
from qiao.channels.interface import Capability, Channel, PayerIdentity
from qiao.channels.requests import Context, PaymentRequest, RefundRequest
from qiao.channels.wire import HttpRequest, Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import (
    AgreementPending,
    FormPost,
    PaymentOutcome,
    Pending,
    Redirect,
    RefundOutcome,
)

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
_ODD_TEXTS: Final = (
    "",
    " ",
    "x" * 3000,
    "茶" * 200,
    "a\r\nX-Injected: 1",
    "a\x00b",
    "<b>&amp;]]></xml>",
    "\"\\'{}${x}",
    "a&sign=1=2?#/%",
    "😀",
)
_CASHIER: Final = "https://shop.example/back?a=1&b=茶 #x"


@promise("every request, and every page the customer is sent to, is at the configured gateway")
def check_requests_stay_at_the_gateway(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            for status in trial.statuses:
                with tried.case(f"{trial.title}, {status}"):
                    result = trial.run(harness, trial.told(status))
                    for url in _urls(result):
                        at_home = any(url.startswith(gateway) for gateway in harness.gateways)
                        require(at_home, f"goes to {urlsplit(url).netloc or 'no host'}")


def _urls(result: Run) -> list[str]:
    urls = [request.url for request in result.requests]
    if not urls and isinstance(result.outcome, Pending | AgreementPending):
        action = result.outcome.action
        if isinstance(action, Redirect | FormPost):
            urls.append(action.url)
    return urls


@promise("every request proves its sender to the other side")
def check_requests_are_authentic(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            for status in trial.statuses:
                with tried.case(f"{trial.title}, {status}"):
                    seen = understood(harness, trial.run(harness, trial.told(status)))
                    if not seen:
                        raise NotApplicable("it asks nothing of the channel")
                    for told in seen:
                        require(told.authentic, f"{told.operation} does not verify")


@promise("every request is well formed, whatever text a merchant puts into it")
def check_requests_are_well_formed(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in (*trials(harness), *odd_trials(harness)):
            with tried.case(trial.title):
                for request in trial.run(harness, trial.situation).requests:
                    _require_well_formed(request)


def _require_well_formed(request: HttpRequest) -> None:
    require(_TOKEN.fullmatch(request.method), "the method is no HTTP token")
    require(_VISIBLE.fullmatch(request.url), "the URL holds something unencoded")
    parts = urlsplit(request.url)
    require(parts.scheme in ("http", "https") and parts.netloc, "the URL is not absolute")
    require(not parts.fragment and "@" not in parts.netloc, "the URL has a fragment or a user")
    for name, value in request.headers.items():
        require(_TOKEN.fullmatch(name), "the name of a header is no HTTP token")
        require(_HEADER_VALUE.fullmatch(value), f"the header {name} is not one line of ASCII")
    require(isinstance(request.body, bytes), "the body is not bytes")
    require(request.timeout_seconds > 0, "the time-out is not above zero")


@promise("wrong input is InvalidInput before the first request; after it, nothing raises")
def check_input_errors_come_first(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in (*trials(harness), *odd_trials(harness)):
            with tried.case(trial.title):
                result = trial.run(harness, trial.situation)
                early = isinstance(result.error, InvalidInput) and not result.requests
                require(result.error is None or early, f"came out as {result}")


def odd_trials(harness: ConformanceHarness) -> Iterator[Trial]:
    """Payments and refunds with texts that nobody expects, and without what they need."""
    amount = harness.money()
    for product in products(harness):
        trial = payment_trial(harness, product, amount)
        usual = harness.payment_request(product, trial.situation.reference, amount)
        for title, odd in _odd_payments(usual):
            yield Trial(
                title=f"{trial.title} with {title}",
                situation=replace(
                    trial.told(Status.PENDING),
                    reference=odd.reference,
                    payment_reference=odd.reference,
                ),
                start=partial(_create, odd),
            )
    trial = refund_trials(harness, amount)[0]
    told = trial.situation
    usual_refund = harness.refund_request(
        told.reference, told.payment_reference, told.payment_amount, amount
    )
    for text in _ODD_TEXTS:
        odd_refund = replace(usual_refund, reason=text)
        yield Trial(
            title=f"refund with reason {text[:20]!r}",
            situation=told,
            start=partial(_refund, odd_refund),
        )


def _create(
    request: PaymentRequest, channel: Channel, context: Context
) -> Operation[PaymentOutcome]:
    return channel.create(request, context)


def _refund(request: RefundRequest, channel: Channel, context: Context) -> Operation[RefundOutcome]:
    return channel.refund(request, context)


def _odd_payments(usual: PaymentRequest) -> Iterator[tuple[str, PaymentRequest]]:
    for text in _ODD_TEXTS:
        shown = repr(text[:20])
        yield f"description {shown}", replace(usual, description=text)
        yield f"reference {shown}", replace(usual, reference=text)
        yield f"metadata {shown}", replace(usual, metadata={text: text})
        yield f"store {shown}", replace(usual, store=text)
        yield f"payer {shown}", replace(usual, payer=text)
        yield f"auth_code {shown}", replace(usual, auth_code=text)
        yield f"client_ip {shown}", replace(usual, client_ip=text)
    yield "no payer, code or address", replace(usual, payer=None, auth_code=None, client_ip=None)
    yield "an odd return_url", replace(usual, return_url=_CASHIER)
    yield "an odd notify_url", replace(usual, notify_url=_CASHIER)


@promise("the payer's browser is sent to the wallet with the way back and the state")
def check_authorization_url_leads_back(harness: ConformanceHarness) -> None:
    if not implemented(harness.channel, Capability.PAYER_IDENTITY):
        raise NotApplicable("the channel does not tell who pays")
    back, state = "https://shop.example/back?order=1&x=茶", "State-1234"
    url = cast("PayerIdentity", harness.channel).authorization_url(redirect_url=back, state=state)
    require(_VISIBLE.fullmatch(url), "the URL holds something unencoded")
    given = [value for values in parse_qs(urlsplit(url).query).values() for value in values]
    require(back in given, "the way back is not in it as it was given")
    require(state in given, "the state is not in it as it was given")
