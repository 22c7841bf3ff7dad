"""What the manifest declares is there and works, and nothing else is."""

import re
from typing import Final

from qiao.channels.conformance.driving import Run
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import (
    Trial,
    agreement_trials,
    authorization_trials,
    capture_trials,
    charge_trial,
    implemented,
    payment_trial,
    products,
    refund_trials,
    return_trials,
    sharing_trials,
    transfer_trials,
)
from qiao.channels.conformance.vocabulary import Status, Verb, require
from qiao.channels.interface import CAPABILITY_PROTOCOLS, Capability
from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.money import MAX_MINOR, Money, currencies
from qiao.domain.outcomes import Declined, Pending, Succeeded

_ID: Final = re.compile(r"[a-z][a-z0-9_]{1,31}")


@promise("the manifest is complete, and the account's own is within the type's")
def check_manifest_is_complete(harness: ConformanceHarness) -> None:
    own, declared = harness.channel.manifest, harness.channel_type.manifest
    require(_ID.fullmatch(own.id), "the id is not 2 to 32 of a-z, 0-9 and _, a letter first")
    require(own.id == declared.id, "the account's manifest has another id than the type's")
    require({"zh", "en"} <= {k for k, v in own.name.items() if v.strip()}, "no name in zh and en")
    require(own.products, "declares no product")
    require(own.products <= declared.products, "the account has products that the type has not")
    more = own.capabilities - declared.capabilities
    require(not more, f"the account can what the type cannot: {', '.join(sorted(more))}")
    held = own.authorization_products
    require(held <= own.products, "holds amounts by products that it does not offer")
    holds = Capability.SEPARATE_CAPTURE in own.capabilities
    require(bool(held) == holds, "separate capture and authorization_products go together")
    signed = own.agreement_products
    require(signed <= own.products, "has agreements signed by products that it does not offer")
    signs = Capability.AGREEMENTS in own.capabilities
    require(signed <= declared.agreement_products, "the type lets less be signed by")
    require(bool(signed) == signs, "agreements and agreement_products go together")
    require(Product.AGREEMENT not in own.products, "nobody asks for a charge by create")
    require(own.currencies, "declares no currency")
    require(own.currencies <= currencies(), "declares a currency that qiao.domain.money lacks")
    require(1 <= own.min_minor <= own.max_minor <= MAX_MINOR, "the limits are no range of amounts")
    require(own.documentation_url.startswith("https://"), "documentation_url is not https://")


@promise("a capability is declared exactly when all its verbs are implemented")
def check_capabilities_match_verbs(harness: ConformanceHarness) -> None:
    channel = harness.channel
    with cases() as tried:
        for capability, verbs in CAPABILITY_PROTOCOLS.items():
            with tried.case(capability):
                declared = capability in channel.manifest.capabilities
                there = [verb for verb in verbs if callable(getattr(channel, verb, None))]
                missing = [verb for verb in verbs if verb not in there]
                require(not declared or not missing, f"is declared without {', '.join(missing)}")
                require(declared or not there, f"{', '.join(there)} is there and not declared")


@promise("every declared product can be asked for")
def check_declared_products_work(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for product in products(harness):
            with tried.case(product):
                trial = payment_trial(harness, product, harness.money())
                result = trial.run(harness, trial.told(Status.PENDING))
                require(
                    isinstance(result.outcome, (Pending, Succeeded, Declined)),
                    f"came out as {result}",
                )


@promise("a product that is not declared is InvalidInput before the first request")
def check_other_products_are_refused(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for product in sorted(set(Product) - harness.channel.manifest.products):
            with tried.case(product):
                trial = payment_trial(harness, product, harness.money())
                _require_refused(trial.run(harness, trial.told(Status.PENDING)))


@promise("a currency that is not declared is InvalidInput before the first request")
def check_other_currencies_are_refused(harness: ConformanceHarness) -> None:
    others = sorted(currencies() - harness.channel.manifest.currencies)
    with cases() as tried:
        for currency in others:
            for trial in _effects(harness, Money(harness.money().minor, currency)):
                with tried.case(f"{trial.title} in {currency}"):
                    _require_refused(trial.run(harness, trial.situation))


@promise("a payment outside the declared limits is InvalidInput before the first request")
def check_limits_are_enforced(harness: ConformanceHarness) -> None:
    manifest = harness.channel.manifest
    outside = {0, manifest.min_minor - 1, manifest.max_minor + 1, MAX_MINOR}
    with cases() as tried:
        for minor in sorted(outside):
            if manifest.min_minor <= minor <= manifest.max_minor or minor > MAX_MINOR:
                continue
            for product in products(harness):
                amount = Money(minor, harness.currency)
                with tried.case(f"{product} for {amount}"):
                    trial = payment_trial(harness, product, amount)
                    _require_refused(trial.run(harness, trial.situation))


def _effects(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    """Every verb that moves ``amount``."""
    found = [payment_trial(harness, product, amount) for product in products(harness)]
    found += refund_trials(harness, amount)[:1]
    if implemented(harness.channel, Capability.SEPARATE_CAPTURE):
        asking = authorization_trials(harness, amount)
        found += [one for one in asking if one.situation.verb is Verb.AUTHORIZE]
        found += capture_trials(harness, amount)[:1]
    if implemented(harness.channel, Capability.AGREEMENTS):
        asking = agreement_trials(harness, amount)
        found += [one for one in asking if one.situation.verb is Verb.SIGN]
        found.append(charge_trial(harness, amount))
    if implemented(harness.channel, Capability.TRANSFERS):
        found += transfer_trials(harness, amount)[:1]
    if implemented(harness.channel, Capability.PROFIT_SHARING):
        found += sharing_trials(harness, amount)[:1]
    if implemented(harness.channel, Capability.SHARE_RETURNS):
        found += return_trials(harness, amount)[:1]
    return found


def _require_refused(result: Run) -> None:
    require(
        isinstance(result.error, InvalidInput) and not result.requests,
        f"came out as {result}, not as InvalidInput before the first request",
    )
