"""The cashier in Chromium: small, private, within its policy, accessible, and honest about ends."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import pytest
from axe_playwright_python.async_playwright import (  # type: ignore[import-untyped]  # no types
    Axe,
)
from playwright.async_api import Browser, Page, Response

from qiao.demo.world import MERCHANT, WECHAT_ACCOUNT, World

BUDGET_BYTES: Final = 30_000
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def approve(world: World, payment: dict[str, Any]) -> None:
    """What the customer does in the wallet: scan the code, and pay."""
    told = await world.shop.ask("GET", f"/v1/payments/{payment['id']}")
    tried = told["attempts"][-1]
    alipay = tried["channel"] == "alipay"
    base_url = world.alipay.base_url if alipay else world.wechat.base_url
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        if alipay and tried["action"]["type"] == "qr_code":
            async with session.get(tried["action"]["content"]):
                pass
        url = f"{base_url}/_control/payments/{tried['reference']}/approve"
        async with session.post(url):
            pass


async def expire(world: World, payment: dict[str, Any], *, left: timedelta = timedelta()) -> None:
    """Move the payment's end to soon; the API takes no less than a minute."""
    await world.engine.database.execute(
        "UPDATE payment SET expires_at = now() + $2 WHERE payment_id = $1", payment["id"], left
    )


async def show_choice(world: World, page: Page) -> dict[str, Any]:
    payment: dict[str, Any] = await world.shop.sell(12800, "龙井茶 Longjing tea")
    await page.goto(payment["cashier_url"])
    await page.wait_for_selector("button.method")
    return payment


async def show_qr(world: World, page: Page) -> dict[str, Any]:
    payment = await show_choice(world, page)
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("svg.qr")
    return payment


async def show_paid(world: World, page: Page) -> dict[str, Any]:
    payment = await show_qr(world, page)
    await approve(world, payment)
    await page.wait_for_selector(".mark:not(.off)")
    return payment


async def show_failed(world: World, page: Page) -> dict[str, Any]:
    payment = await show_choice(world, page)
    await page.goto(f"{payment['cashier_url']}?failed=insufficient_funds")
    await page.wait_for_selector('[role="alert"]')
    return payment


async def show_expired(world: World, page: Page) -> dict[str, Any]:
    payment = await show_choice(world, page)
    await expire(world, payment)
    await page.goto(payment["cashier_url"])
    await page.wait_for_selector("text=/订单已过期|has expired/")
    return payment


async def show_closed(world: World, page: Page) -> dict[str, Any]:
    payment = await show_choice(world, page)
    await world.shop.ask("POST", f"/v1/payments/{payment['id']}/close")
    await page.wait_for_selector("text=/订单已关闭|is closed/")  # told, without a click
    return payment


Show = Callable[[World, Page], Awaitable[dict[str, Any]]]
PAGES: Final[dict[str, Show]] = {
    "choice": show_choice,
    "qr": show_qr,
    "paid": show_paid,
    "failed": show_failed,
    "expired": show_expired,
    "closed": show_closed,
}


class Heard:
    """What a page complained about, and every answer that it got."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.answers: list[Response] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self.answers.append(answer))


async def test_small_private_and_within_the_policy(world: World, browser: Browser) -> None:
    for name, show in PAGES.items():
        page = await browser.new_page(locale="zh-CN")
        heard = Heard(page)
        await show(world, page)
        heard.answers.clear()
        await page.reload()
        await page.wait_for_load_state("load")
        assert {one.url[: len(world.url) + 1] for one in heard.answers} == {f"{world.url}/"}
        whole = [one for one in heard.answers if not one.url.endswith(("/events", "/favicon.ico"))]
        assert {"css", "js"} < {urlsplit(one.url).path.rpartition(".")[2] for one in whole}, name
        sizes = [len(gzip.compress(await one.body())) for one in whole]
        assert sum(sizes) <= BUDGET_BYTES, (name, sizes)
        assert heard.complaints == [], name
        await page.close()


async def test_a_violation_of_the_policy_would_be_heard(world: World, browser: Browser) -> None:
    page = await browser.new_page()
    heard = Heard(page)
    await show_choice(world, page)
    await page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: '1'}));"
        "fetch('https://elsewhere.invalid/').catch(() => 0)"
    )
    async with asyncio.timeout(30):
        while len([one for one in heard.complaints if "Content Security Policy" in one]) < 2:
            await asyncio.sleep(0.01)


async def check(page: Page) -> None:
    """What axe-core finds against WCAG 2.2, levels A and AA, and good practice."""
    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
    found = await Axe().run(page, options=options)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    assert found.response["passes"], "axe looked at something"


# Every two of width, colours and language meet once.
VIEWS: Final = [
    (390, "light", "zh-CN"),
    (390, "dark", "en-US"),
    (1280, "light", "en-US"),
    (1280, "dark", "zh-CN"),
]


@pytest.mark.parametrize(("width", "colours", "language"), VIEWS)
async def test_accessible(
    world: World, browser: Browser, width: int, colours: Literal["light", "dark"], language: str
) -> None:
    page = await browser.new_page(
        locale=language,
        viewport={"width": width, "height": 844},
        color_scheme=colours,
        reduced_motion="reduce",
    )
    for name, show in PAGES.items():
        await show(world, page)
        await check(page)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} scrolls sideways"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_shop_wallets_and_reference_too(world: World, browser: Browser, dark: bool) -> None:
    page = await browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme="dark" if dark else "light"
    )
    payment = await show_qr(world, page)
    [trade] = world.alipay.book.trades.values()
    addresses = [
        world.shop.url,
        f"{world.shop.url}/orders/{payment['order_id']}",
        f"{world.url}/docs",
        f"{world.alipay.base_url}/wallet/{trade.token}",
        *(
            f"{one}/wallet/{name}"
            for one in (world.alipay.base_url, world.wechat.base_url)
            for name in ("scenarios", "code")
        ),
    ]
    for address in addresses:
        await page.goto(address)
        await check(page)


async def test_the_keyboard_alone_is_enough(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="zh-CN")
    await show_choice(world, page)
    await page.keyboard.press("Tab")
    focused = "document.activeElement.value || document.activeElement.textContent"
    assert str(await page.evaluate(focused)).startswith("alipay:")
    await page.keyboard.press("Tab")
    assert str(await page.evaluate(focused)).startswith("wechat:")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "English"
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("svg.qr")
    assert await page.locator("h1").inner_text() == "微\n打开微信扫一扫"


async def test_the_code_is_big_and_the_order_is_named(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="en-US", viewport={"width": 390, "height": 844})
    payment = await show_qr(world, page)
    box = await page.locator("svg.qr").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 280
    assert box["y"] + box["height"] <= 844, "no scrolling to see all of it"
    summary = await page.locator(".summary").inner_text()
    for shown in ("茶馆 Tea House", "128.00", "CNY", "龙井茶 Longjing tea", payment["order_id"]):
        assert shown in summary


async def test_the_language_is_switched_and_kept(world: World, browser: Browser) -> None:
    context = await browser.new_context(locale="zh-CN")
    page = await context.new_page()
    payment = await show_choice(world, page)
    assert await page.locator("html").get_attribute("lang") == "zh"
    await page.click("text=English")
    await page.wait_for_selector("text=Choose how to pay")
    await page.goto(payment["cashier_url"])
    assert await page.locator("html").get_attribute("lang") == "en"
    missing = await page.goto(payment["cashier_url"][:-4] + "none")
    assert missing is not None
    assert missing.status == 404
    assert await page.locator("h1").inner_text() == "There is no such order"
    assert (await page.title()).startswith("There is no such order")


async def test_the_countdown_ends_in_the_page_that_says_so(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="zh-CN")
    payment = await show_choice(world, page)
    await expire(world, payment, left=timedelta(seconds=2))
    await page.goto(payment["cashier_url"])
    assert (await page.locator("#left").inner_text()) in ("00:02", "00:01")
    await page.wait_for_selector("text=订单已过期")  # by itself
    assert await page.locator("button").count() == 0
    assert await page.locator("a.button").get_attribute("href") == (
        f"{world.shop.url}/orders/{payment['order_id']}"
    )


async def test_without_events_it_polls(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="zh-CN")
    await page.add_init_script("delete window.EventSource")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    await show_paid(world, page)
    assert "state" in asked
    assert "events" not in asked


async def test_who_turns_back_in_wechat_is_not_asked_again(
    world: World, browser: Browser, agents: dict[str, str]
) -> None:
    context = await browser.new_context(locale="zh-CN", user_agent=agents["wechat"])
    page = await context.new_page()
    await page.add_init_script(
        "window.WeixinJSBridge = {invoke: (name, parameters, done) => {"
        " sessionStorage.asked = Number(sessionStorage.asked || 0) + 1;"
        " done({err_msg: window.answer || 'get_brand_wcpay_request:cancel'}); }};"
    )
    payment = await show_choice(world, page)
    await page.click("button.method")
    await page.wait_for_selector("#bridge")
    await page.wait_for_function("sessionStorage.asked === '1'")
    await page.reload()
    await page.wait_for_load_state("load")
    await page.click("#bridge")
    await page.wait_for_function("sessionStorage.asked === '2'")  # the button, and nothing else
    await page.evaluate("window.answer = 'get_brand_wcpay_request:fail'")
    await page.click("#bridge")
    await page.wait_for_selector('[role="alert"]')
    assert await page.evaluate("sessionStorage.asked") == "3"
    await approve(world, payment)
    await page.wait_for_selector("text=支付成功")


async def test_an_account_that_cannot_ask_who_pays_offers_another_way(world: World) -> None:
    settings = world.wechat.credentials.settings("ordinary", base_url=world.wechat.base_url)
    await world.engine.accounts.put(
        merchant_id=MERCHANT,
        account_id=WECHAT_ACCOUNT,
        live=False,
        channel="wechat",
        name="simulated wechat",
        settings={name: value for name, value in settings.items() if name != "app_secret"},
    )
    payment = await world.shop.sell(12800, "龙井茶 Longjing tea")
    back = f"{payment['cashier_url']}/payer/wechat?code=whatever"
    async with aiohttp.ClientSession() as session, session.get(back) as answer:
        assert answer.url.query_string == "failed=failed"
        assert 'role="alert"' in await answer.text()
