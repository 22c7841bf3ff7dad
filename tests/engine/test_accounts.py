"""Accounts as operators see and change them; live ones do not lead to a simulator."""

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.accounts import MASK, Accounts, installed_channels
from qiao.engine.errors import Missing
from qiao.simulators.alipay.credentials import new_credentials
from qiao.testing.world import World

ACCOUNT_ID = "acc_00000000000000000000000007"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return new_credentials().settings("ordinary", base_url="https://gateway.example.com")


def accounts_of(world: World, *, installed: bool = True) -> Accounts:
    channels = installed_channels() if installed else {}
    return Accounts(database=world.engine.database, seal=world.engine.seal, channels=channels)


async def put(
    accounts: Accounts, world: World, settings: dict[str, str], *, live: bool, **more: bool
) -> str:
    return await accounts.put(
        merchant_id=world.scope.merchant_id,
        account_id=ACCOUNT_ID,
        live=live,
        channel="alipay",
        name="alipay",
        settings=settings,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("127.0.0.1:8091", True),
        ("127.9.9.9", True),
        ("localhost:8091", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("pay.localhost", True),
        ("[::1]:8091", True),
        ("[::ffff:127.0.0.1]", True),
        ("0.0.0.0:8091", True),
        ("10.0.0.7", False),
        ("localhost.example.com", False),
    ],
)
async def test_a_live_account_does_not_lead_to_a_simulator(
    world: World, settings: dict[str, str], host: str, refused: bool
) -> None:
    accounts = accounts_of(world)
    given = {**settings, "gateway": f"https://{host}/gateway.do"}
    if refused:
        with pytest.raises(InvalidInput) as error:
            await put(accounts, world, given, live=True)
        assert error.value.field == "settings.gateway"
        assert len(await accounts.views(world.scope.merchant_id)) == 1
    else:
        await put(accounts, world, given, live=True)
    assert await put(accounts, world, given, live=True, allow_simulated=True) == ACCOUNT_ID


async def test_a_test_account_may(world: World, settings: dict[str, str]) -> None:
    given = {**settings, "gateway": "http://127.0.0.1:8091/gateway.do"}
    assert await put(accounts_of(world), world, given, live=False) == ACCOUNT_ID


async def test_settings_are_shown_without_secrets(world: World, settings: dict[str, str]) -> None:
    accounts, merchant_id = accounts_of(world), world.scope.merchant_id
    await put(accounts, world, settings, live=False)
    shown = (await accounts.view(merchant_id, ACCOUNT_ID)).settings
    assert shown is not None
    assert shown["private_key"] == MASK
    assert shown["app_id"] == settings["app_id"]
    assert set(shown) == set(settings)
    # Of a channel that is not installed nobody knows which are secret.
    unknown = (await accounts_of(world, installed=False).view(merchant_id, ACCOUNT_ID)).settings
    assert unknown == dict.fromkeys(settings, MASK)


async def test_only_what_is_there_is_shown_or_changed(world: World) -> None:
    for merchant_id in (world.scope.merchant_id, "mer_00000000000000000000000009"):
        with pytest.raises(Missing):
            await world.engine.accounts.view(merchant_id, ACCOUNT_ID)
        with pytest.raises(Missing):
            await world.engine.accounts.enable(merchant_id, ACCOUNT_ID, enabled=False)


async def test_no_attempt_starts_on_a_disabled_account(world: World) -> None:
    accounts, merchant_id = world.engine.accounts, world.scope.merchant_id
    payment = await world.accept()
    await accounts.enable(merchant_id, world.account_id, enabled=False)
    with pytest.raises(InvalidInput):
        await world.attempt(payment)
    assert [one.enabled for one in await accounts.views(merchant_id)] == [False]
    await accounts.enable(merchant_id, world.account_id, enabled=True)
    assert (await world.attempt(payment)).state == "pending"
