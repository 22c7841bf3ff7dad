"""Which account takes an attempt: rows, strategies, and what the attempt tells of it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.attempts import Method, attempt
from qiao.engine.audit import PLATFORM, list_entries
from qiao.engine.errors import Conflict, NoRoute
from qiao.engine.merchants import add_merchant
from qiao.engine.ordering import order_and_attempt
from qiao.engine.organisations import add_app
from qiao.engine.records import CaptureMode
from qiao.engine.routing.books import save, versions
from qiao.engine.routing.choosing import choose
from qiao.engine.routing.rules import Strategy, read_rules
from qiao.engine.routing.scores import Candidate, in_order
from qiao.engine.routing.state import Statistics
from qiao.engine.runtime import Scope
from qiao.simulators.wechat import new_credentials as wechat_credentials
from qiao.store.database import Database
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID, World, make_world
from tests.engine.routing.conftest import wanted

NAMES = {ACCOUNT_ID: "bank", SECOND_ACCOUNT_ID: "north"}


async def chosen(world: World, **more: Any) -> str:
    choice = await choose(world.engine, world.scope, wanted(**more))
    return NAMES[choice.account.account_id]


async def test_without_rules_the_lowest_priority_is_tried_as_ever(world: World) -> None:
    assert await chosen(world) == "bank"
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert done.attempt.account_id == ACCOUNT_ID
    assert done.attempt.routing == {
        "version": 0,
        "rules_of": "nobody",
        "row": None,
        "row_name": None,
        "strategy": "priority",
        "asked": {"channel": "bank"},
        "candidates": [
            {"account": ACCOUNT_ID, "channel": "bank"},
            {"account": SECOND_ACCOUNT_ID, "channel": "bank"},
        ],
    }


async def test_where_there_is_nothing_to_choose_nothing_is_told(
    world: World, database: Database
) -> None:
    await database.execute("UPDATE channel_account SET enabled = false WHERE name = 'north'")
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert (done.attempt.account_id, done.attempt.routing) == (ACCOUNT_ID, None)
    choice = await choose(world.engine, world.scope, wanted(), in_full=True)
    assert choice.document is not None
    assert choice.document["candidates"] == [{"account": ACCOUNT_ID, "channel": "bank"}]


async def test_the_first_row_that_matches_counts_and_is_recorded(world: World) -> None:
    await world.rule(
        rows=[
            {"name": "large", "when": {"amount": ">= 2000"}, "accounts": ["north"]},
            {"when": {"metadata.shop": "north"}, "accounts": [SECOND_ACCOUNT_ID, "bank"]},
            {"accounts": ["channel:bank"]},
        ]
    )
    assert await chosen(world, minor=2000) == "north"
    assert await chosen(world) == "bank"
    order = world.order(1000, metadata={"shop": "north"})
    done = await order_and_attempt(world.engine, world.scope, order, world.method())
    assert done.attempt.account_id == SECOND_ACCOUNT_ID
    assert done.attempt.routing is not None
    assert (done.attempt.routing["version"], done.attempt.routing["row"]) == (1, 2)
    assert await world.attempts(done.payment) == [done.attempt]
    large = await world.attempt(await world.accept(5000))
    assert large.account_id == SECOND_ACCOUNT_ID
    assert large.routing is not None
    assert (large.routing["row"], large.routing["row_name"]) == (1, "large")


async def test_a_row_whose_accounts_cannot_do_it_is_passed_over(
    world: World, database: Database
) -> None:
    await world.rule(
        rows=[{"accounts": ["north"]}, {"when": {"amount": "> 5000"}, "accounts": ["bank"]}],
        otherwise="refuse",
    )
    await database.execute("UPDATE channel_account SET enabled = false WHERE name = 'north'")
    world.engine.accounts.forget(world.scope.merchant_id)
    assert await chosen(world, minor=6000) == "bank"
    with pytest.raises(InvalidInput) as refused:
        await chosen(world, minor=4000)
    assert refused.value.field == "method.channel"
    assert "no row" in str(refused.value)


async def test_a_method_may_leave_the_channel_to_the_rules(world: World) -> None:
    method = Method(channel="auto", product=world.method().product, device="mobile")
    await world.rule(rows=[{"when": {"device": "mobile"}, "accounts": ["channel:bank"]}])
    done = await order_and_attempt(
        world.engine, world.scope, world.order(methods=("bank",)), method
    )
    assert (done.attempt.channel, done.attempt.state) == ("bank", "pending")
    again = await attempt(world.engine, world.scope, done.payment.payment_id, method)
    assert again.attempt_id == done.attempt.attempt_id
    with pytest.raises(InvalidInput) as refused:
        await order_and_attempt(world.engine, world.scope, world.order(methods=("other",)), method)
    assert refused.value.field == "method.product"


async def test_who_told_the_payers_id_takes_the_payment(world: World) -> None:
    await world.rule(rows=[{"accounts": ["bank", "north"]}])
    assert await chosen(world) == "bank"
    assert await chosen(world, account_id=SECOND_ACCOUNT_ID) == "north"


async def test_a_saved_version_counts_in_another_process_soon(world: World) -> None:
    """Another process holds what it knows for a second; then it asks again."""
    await choose(world.engine, world.scope, wanted())
    elsewhere = type(world.engine.routing)(world.engine.database)
    await elsewhere.of(world.scope.merchant_id, live=False)
    await world.rule(rows=[{"accounts": ["north"]}])
    assert await chosen(world) == "north"
    while (await elsewhere.of(world.scope.merchant_id, live=False)).version == 0:
        pass  # each pass asks the database or the clock: it ends within HELD_SECONDS
    assert (await elsewhere.of(world.scope.merchant_id, live=False)).version == 1


async def test_versions_are_only_added(world: World, database: Database) -> None:
    await world.rule(rows=[{"accounts": ["north"]}])
    rules = read_rules({"strategy": "cost"})
    second = await save(world.engine, world.scope, rules, note="cheaper", replaces=1)
    assert (second.version, second.note) == (2, "cheaper")
    with pytest.raises(Conflict) as refused:
        await save(world.engine, world.scope, rules, replaces=1)
    assert refused.value.code == "version_conflict"
    assert [one.version for one in await versions(world.engine, world.scope)] == [2, 1]
    assert [one.version for one in await versions(world.engine, world.scope, before=2)] == [1]
    for change in ("UPDATE routing_version SET note = ''", "DELETE FROM routing_version"):
        with pytest.raises(Exception, match="append-only"):
            await database.execute(change)


async def test_rules_name_accounts_that_are_there(world: World) -> None:
    for rules, field in (
        ({"rows": [{"accounts": ["bank"]}, {"accounts": ["south"]}]}, "rows[1].accounts"),
        ({"fees": [{"account": "south"}]}, "fees[0].account"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await world.rule(**rules)
        assert refused.value.field == field
        assert "north" in refused.value.remedy


async def test_the_platforms_rules_are_for_who_has_none(world: World) -> None:
    platform = Scope(merchant_id=PLATFORM, live=False)
    rules = read_rules({"rows": [{"name": "all", "accounts": ["channel:bank"]}]})
    await save(world.engine, platform, rules)
    choice = await choose(world.engine, world.scope, wanted())
    assert choice.document is not None
    assert (choice.document["rules_of"], choice.document["row_name"]) == ("platform", "all")
    await world.rule(rows=[{"accounts": ["north"]}])
    assert await chosen(world) == "north"
    await world.rule(inherit=True)
    assert await chosen(world) == "bank"
    with pytest.raises(InvalidInput) as refused:
        await save(world.engine, platform, read_rules({"rows": [{"accounts": ["north"]}]}))
    assert refused.value.field == "rows[0].accounts"


async def test_anothers_rules_are_not_ours(world: World) -> None:
    other = Scope(merchant_id="mer_00000000000000000000000009", live=False)
    await add_merchant(world.engine, "Other", merchant_id=other.merchant_id)
    await world.rule(rows=[{"accounts": ["north"]}])
    assert await versions(world.engine, other) == []
    assert await versions(world.engine, Scope(merchant_id=world.scope.merchant_id, live=True)) == []


async def test_a_split_is_of_the_payment_and_by_weight(world: World) -> None:
    await world.rule(strategy="split", rows=[{"accounts": ["bank", "north"], "weights": [30, 70]}])
    counts = Counter([await chosen(world, subject=f"pay_{n}") for n in range(1000)])
    assert 230 < counts["bank"] < 370
    first = [await chosen(world, subject=f"pay_{n}") for n in range(20)]
    assert first == [await chosen(world, subject=f"pay_{n}") for n in range(20)]


async def test_the_cheapest_comes_first(world: World) -> None:
    await world.rule(
        strategy="cost",
        fees=[
            {"account": "bank", "basis_points": 60},
            {"account": "north", "basis_points": 38, "fixed": 5},
            {"account": "north", "product": "code", "basis_points": 20},
        ],
    )
    assert await chosen(world, minor=1000) == "bank"  # 6 against 4 + 5
    assert await chosen(world, minor=10_000) == "north"  # 60 against 38 + 5
    assert await chosen(world, minor=1000, product=world.method("1").product) == "north"
    choice = await choose(world.engine, world.scope, wanted(10_000))
    assert choice.document is not None
    assert [one["cost"] for one in choice.document["candidates"]] == [43, 60]


async def candidates(world: World, *figures: tuple[int, int, int, int]) -> list[Candidate]:
    accounts = await world.engine.accounts.usable(world.scope.merchant_id, live=False)
    return [
        Candidate(
            account=account,
            cost_minor=cost,
            statistics=Statistics(
                account_id=account.account_id,
                product="qr",
                succeeded=succeeded,
                failed=failed,
                latency_ms=latency,
                answers=succeeded + failed,
            ),
        )
        for account, (succeeded, failed, latency, cost) in zip(accounts, figures, strict=True)
    ]


@pytest.mark.parametrize(
    ("strategy", "first", "second", "best"),
    [
        (Strategy.SUCCESS, (9, 1, 1, 0), (99, 1, 9, 0), "north"),
        (Strategy.SUCCESS, (1, 0, 1, 0), (500, 5, 9, 0), "north"),  # one success says little
        (Strategy.SUCCESS, (0, 0, 0, 0), (0, 0, 0, 0), "bank"),
        (Strategy.LATENCY, (9, 0, 90, 0), (9, 0, 80, 0), "north"),
        (Strategy.LATENCY, (0, 0, 0, 0), (9, 0, 80, 0), "north"),  # not measured is not quick
        (Strategy.VALUE, (99, 1, 1, 60), (99, 1, 1, 38), "north"),
        (Strategy.VALUE, (99, 1, 1, 60), (80, 20, 1, 38), "bank"),
        (Strategy.PRIORITY, (0, 99, 1, 60), (99, 0, 1, 0), "bank"),
    ],
)
async def test_figures_decide(
    world: World,
    strategy: Strategy,
    first: tuple[int, int, int, int],
    second: tuple[int, int, int, int],
    best: str,
) -> None:
    ordered = in_order(
        await candidates(world, first, second),
        strategy,
        subject="pay_1",
        amount_minor=1000,
        random_bytes=bytes,
        explore_percent=5,
    )
    assert NAMES[ordered[0].account.account_id] == best


async def test_a_bandit_follows_its_chance_and_goes_on_exploring(world: World) -> None:
    good_and_bad = await candidates(world, (1, 99, 1, 0), (990, 10, 1, 0))

    def bests(explore_percent: int) -> list[str]:
        return [
            NAMES[
                in_order(
                    good_and_bad,
                    Strategy.BANDIT,
                    subject="pay_1",
                    amount_minor=1000,
                    random_bytes=lambda size, n=n: n.to_bytes(size),  # type: ignore[misc]
                    explore_percent=explore_percent,
                )[0].account.account_id
            ]
            for n in range(1000)
        ]

    assert bests(10) == bests(10)
    explored = Counter(bests(10))["bank"]
    assert 20 < explored < 90  # half of a tenth


async def test_every_account_open_is_told_at_once(world: World, database: Database) -> None:
    for account_id in NAMES:
        await database.execute(
            "INSERT INTO account_health VALUES ($1, $2, 'open', now(), now() + interval '20 s',"
            " 1, 'no answer')",
            world.scope.merchant_id,
            account_id,
        )
    with pytest.raises(NoRoute) as refused:
        await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert 1 <= refused.value.retry_after_seconds <= 20
    assert world.transport.sent == []
    world.clock.pass_by(seconds=21)  # its time is over: whoever comes first tries it
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert done.attempt.state == "pending"


async def test_an_account_of_another_app_is_never_chosen(world: World) -> None:
    app = await add_app(world.engine, world.scope.merchant_id, "the till")
    await world.engine.accounts.put(
        merchant_id=world.scope.merchant_id,
        account_id=SECOND_ACCOUNT_ID,
        live=False,
        channel="bank",
        name="north",
        settings={"key": world.bank.key, "branch": "north"},
        app_id=app.app_id,
    )
    await world.rule(rows=[{"when": {"app": app.app_id}, "accounts": ["north", "bank"]}])
    assert await chosen(world) == "bank"
    assert await chosen(world, app_id=app.app_id) == "north"
    scope = Scope(merchant_id=world.scope.merchant_id, live=False, app_id=app.app_id)
    done = await order_and_attempt(world.engine, scope, world.order(), world.method())
    assert done.attempt.account_id == SECOND_ACCOUNT_ID
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert done.attempt.account_id == ACCOUNT_ID


async def test_what_is_held_first_goes_where_it_can_be_held(world: World) -> None:
    held = {"capture": CaptureMode.MANUAL, "channel": "auto"}
    await world.rule(
        rows=[{"when": {"capture": "manual"}, "accounts": ["north"]}, {"accounts": ["bank"]}]
    )
    assert await chosen(world, **held) == "north"
    assert await chosen(world) == "bank"
    with pytest.raises(InvalidInput, match="no account can hold an amount by h5"):
        await chosen(world, **held, product=Product.H5)
    assert await chosen(world, channel="auto", product=Product.H5) == "bank"


async def test_who_saved_rules_is_in_the_audit_log(world: World) -> None:
    await world.rule(rows=[{"accounts": ["bank"]}])
    last, *_ = await list_entries(world.engine.database, world.scope.merchant_id)
    assert (last.content.action, last.content.subject_id) == ("rules.saved", "1")


async def test_of_two_accounts_of_a_channel_one_that_can_is_chosen(
    database: Database,
) -> None:
    """On API v2 WeChat Pay shares nothing, and the account of v3 comes second."""
    credentials = wechat_credentials()
    base = "http://127.0.0.1:9"
    world = await make_world(database)
    engine = replace(
        world.engine,
        accounts=Accounts(database=database, seal=world.engine.seal, channels=installed_channels()),
    )
    each = {
        "v2": credentials.v2_settings("ordinary", base_url=base, secure_url=base),
        "v3": credentials.settings("ordinary", base_url=base),
    }
    await database.execute("UPDATE channel_account SET enabled = false")
    for number, (name, settings) in enumerate(each.items()):
        await engine.accounts.put(
            merchant_id=world.scope.merchant_id,
            account_id=engine.new_id(IdKind.CHANNEL_ACCOUNT),
            live=False,
            channel="wechat",
            name=name,
            settings=settings,
            priority=number,
        )
    for shared, name in ((False, "v2"), (True, "v3")):
        asked = wanted(channel="wechat", profit_sharing=shared)
        assert (await choose(engine, world.scope, asked)).account.name == name
