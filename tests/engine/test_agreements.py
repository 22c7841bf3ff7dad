"""Agreements: asked for once, signed, ended by either side; told twice and out of order."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit
from qiao.engine.agreement_work import agreement_now
from qiao.engine.agreements import (
    AgreementOrder,
    end_agreement,
    list_agreements,
    request_agreement,
    show_agreement,
)
from qiao.engine.errors import Conflict, Missing
from qiao.engine.notifications import receive
from qiao.engine.records import Agreement
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.testing.bank import Fault
from qiao.testing.world import World

ORDER = AgreementOrder(
    number="member-17",
    channel="bank",
    product=Product.QR,
    max_amount=Money(3000, "CNY"),
    period_unit=PeriodUnit.MONTH,
    period_count=1,
    first_charge_on=datetime.now(UTC).date() + timedelta(days=7),
    display_name="会员 17",
)


async def asked(world: World, *faults: Fault | None, order: AgreementOrder = ORDER) -> Agreement:
    world.transport.faults[:] = faults
    return (await request_agreement(world.engine, world.scope, order)).agreement


async def now(world: World, agreement: Agreement) -> Agreement:
    return await agreement_now(world.engine, agreement.merchant_id, agreement.agreement_id)


async def told(world: World, agreement: Agreement, state: str | None = None) -> int:
    notice = world.bank.mandate_notice(agreement.reference, state)
    reply = await receive(world.engine, agreement.merchant_id, world.account_id, notice)
    return reply.status


async def events(world: World) -> list[str]:
    rows = await world.engine.database.fetch("SELECT type FROM event ORDER BY event_id")
    return [row["type"].removeprefix("agreement.") for row in rows]


async def test_signed_and_told_however_often(world: World) -> None:
    agreement = await asked(world)
    assert agreement.state == "pending"
    assert agreement.action is not None
    assert agreement.action["type"] == "qr_code"
    world.bank.sign_mandate(agreement.reference)
    for _ in range(3):
        assert await told(world, agreement) == 200
    after = await now(world, agreement)
    assert (after.state, after.channel_reference) == ("active", f"bank-{agreement.reference}")
    assert after.action is None
    assert await events(world) == ["created", "active"]


async def test_signed_and_never_told_it_is_asked_about(world: World) -> None:
    agreement = await asked(world)
    world.bank.sign_mandate(agreement.reference)
    world.clock.pass_by(minutes=1)
    await world.work()
    assert (await now(world, agreement)).state == "active"


async def test_the_same_number_is_the_same_agreement(world: World) -> None:
    first = await request_agreement(world.engine, world.scope, ORDER)
    again = await request_agreement(world.engine, world.scope, ORDER)
    assert (first.created, again.created) == (True, False)
    assert again.agreement.agreement_id == first.agreement.agreement_id
    for change in ({"max_amount": Money(3001, "CNY")}, {"display_name": "somebody else"}):
        with pytest.raises(Conflict) as refused:
            await request_agreement(world.engine, world.scope, replace(ORDER, **change))
        assert refused.value.code == "agreement_exists_with_different_content"
    assert len(world.bank.mandates) == 1


async def test_a_key_gives_the_same_agreement(world: World) -> None:
    key = IdempotencyKey(key="k", body_digest=b"1")
    first = await request_agreement(world.engine, world.scope, ORDER, key=key)
    again = await request_agreement(world.engine, world.scope, ORDER, key=key)
    assert again.agreement.agreement_id == first.agreement.agreement_id


@pytest.mark.parametrize("fault", [Fault.NOT_CONNECTED, Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_a_lost_answer_is_asked_for_again_under_the_same_number(
    world: World, fault: Fault
) -> None:
    lost = await asked(world, fault)
    assert (lost.state, lost.action) == ("pending", None)
    again = await asked(world)
    assert again.action is not None
    assert again.reference == lost.reference
    assert len(world.bank.mandates) == 1


async def test_never_signed_it_expires_and_is_active_if_signed_after_all(world: World) -> None:
    agreement = await asked(world, order=replace(ORDER, expires_in_seconds=3600))
    await world.work_until_quiet(minutes=10)
    assert (await now(world, agreement)).state == "expired"
    world.bank.sign_mandate(agreement.reference)
    await told(world, agreement)
    assert (await now(world, agreement)).state == "active"


async def test_ended_by_the_customer_it_stays_ended(world: World) -> None:
    agreement = await asked(world)
    world.bank.sign_mandate(agreement.reference)
    world.bank.end_mandate(agreement.reference)
    await told(world, agreement)  # of the end first
    assert await told(world, agreement, "signed") == 200  # and of the signature afterwards
    after = await now(world, agreement)
    assert after.state == "ended"
    assert after.ended_at is not None
    assert await events(world) == ["created", "ended"]


@pytest.mark.parametrize("fault", [None, Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_ended_by_the_merchant(world: World, fault: Fault | None) -> None:
    agreement = await asked(world)
    world.bank.sign_mandate(agreement.reference)
    await told(world, agreement)
    await end_agreement(world.engine, world.scope, agreement.agreement_id)
    ending = await end_agreement(world.engine, world.scope, agreement.agreement_id)
    assert (ending.state, ending.end_requested_at is not None) == ("active", True)
    world.transport.faults[:] = [fault]
    await world.work_until_quiet(minutes=1)
    assert (await now(world, agreement)).state == "ended"
    assert world.bank.mandates[agreement.reference].state == "ended"
    again = await end_agreement(world.engine, world.scope, agreement.agreement_id)
    assert again.state == "ended"


async def test_signed_although_it_was_ended_it_is_ended_at_the_channel(world: World) -> None:
    agreement = await asked(world)
    await end_agreement(world.engine, world.scope, agreement.agreement_id)
    await world.work()
    assert (await now(world, agreement)).state == "pending"  # the customer may yet sign
    world.bank.sign_mandate(agreement.reference)
    await told(world, agreement)
    await world.work_until_quiet(minutes=1)
    assert (await now(world, agreement)).state == "ended"
    assert world.bank.mandates[agreement.reference].state == "ended"


async def test_not_signed_and_ended_it_comes_to_nothing(world: World) -> None:
    agreement = await asked(world)
    await end_agreement(world.engine, world.scope, agreement.agreement_id)
    await world.work_until_quiet(hours=1)
    assert (await now(world, agreement)).state == "ended"


async def test_a_notification_about_nobodys_agreement_is_refused(world: World) -> None:
    agreement = await asked(world)
    await world.engine.database.execute(
        "UPDATE agreement SET reference = 'another' WHERE agreement_id = $1",
        agreement.agreement_id,
    )
    world.bank.sign_mandate(agreement.reference)
    assert await told(world, agreement) == 400
    assert (await now(world, agreement)).state == "pending"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("channel", {"channel": "nobody"}),
        ("product", {"product": Product.CODE}),
        ("currency", {"max_amount": Money(1, "USD")}),
        ("plan", {"plan": "none"}),
        ("number", {"number": "a b"}),
        ("max_amount", {"max_amount": Money(0, "CNY")}),
        ("period.count", {"period_count": 0}),
        ("expires_in", {"expires_in_seconds": 1}),
        ("display_name", {"display_name": "\n"}),
        ("return_url", {"return_url": "shop"}),
        ("first_charge_on", {"first_charge_on": date(2020, 1, 1)}),
        ("first_charge_on", {"first_charge_on": date(9999, 12, 31)}),
    ],
)
async def test_what_is_refused_by_name(field: str, change: dict[str, object], world: World) -> None:
    async def ask() -> None:
        order = replace(ORDER, **change)  # type: ignore[arg-type]  # the fields are of all kinds
        await request_agreement(world.engine, world.scope, order)

    with pytest.raises(InvalidInput) as refused:
        await ask()
    assert refused.value.field == field
    assert world.bank.mandates == {}


async def test_they_are_shown_to_their_merchant_alone(world: World) -> None:
    agreement = await asked(world)
    assert await list_agreements(world.engine, world.scope) == [agreement]
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    assert await list_agreements(world.engine, live) == []
    with pytest.raises(Missing):
        await show_agreement(world.engine, live, agreement.agreement_id)


async def test_what_the_customer_is_called_is_in_no_event(world: World) -> None:
    await asked(world)
    rows = await world.engine.database.fetch("SELECT data::text AS data FROM event")
    assert rows
    assert all("会员" not in row["data"] for row in rows)
