"""Chromium drives the demonstration: shop, cashier, QR code, wallet, paid, webhook."""

from playwright.async_api import Browser, Page

from qiao.demo.world import World


async def buy(page: Page, world: World) -> list[str]:
    """To the cashier; gives every address that a page asked for, and every complaint."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    await page.goto(world.shop.url)
    await page.click("li:last-child button")
    await page.wait_for_selector("main[data-address]")
    return seen


async def approve(browser: Browser, world: World) -> None:
    [trade] = world.alipay.book.trades.values()
    page = await browser.new_page()
    await page.goto(f"{world.alipay.base_url}/wallet/{trade.token}")
    await page.click("text=确认付款")
    await page.wait_for_selector("text=支付成功")


async def shop_is_told(page: Page, world: World) -> None:
    await page.click("text=返回商家")
    await page.wait_for_selector('[data-state="paid"]')
    assert "payment.paid" in [event["type"] for event in world.shop.events]


async def test_desktop_qr(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="zh-CN")
    seen = await buy(page, world)
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("svg.qr")
    await approve(browser, world)
    await page.wait_for_selector("text=支付成功")  # by server-sent events, without a click
    await shop_is_told(page, world)
    ours = (world.url, world.shop.url)
    assert [one for one in seen if not one.startswith(ours)] == []


async def test_without_javascript(world: World, browser: Browser) -> None:
    context = await browser.new_context(locale="zh-CN", java_script_enabled=False)
    page = await context.new_page()
    await buy(page, world)
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("svg.qr")
    await approve(browser, world)
    await page.wait_for_selector("text=支付成功")  # by refreshing
    await shop_is_told(page, world)


async def test_phone_goes_to_the_wallet_and_comes_back(
    world: World, browser: Browser, agents: dict[str, str]
) -> None:
    context = await browser.new_context(locale="zh-CN", user_agent=agents["phone"])
    page = await context.new_page()
    await buy(page, world)
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("text=确认付款")
    assert page.url.startswith(world.alipay.base_url)
    await page.click("text=确认付款")
    await page.wait_for_selector("text=返回商家")
    assert page.url.startswith(f"{world.url}/cashier/")
    await shop_is_told(page, world)


async def test_inside_alipay(world: World, browser: Browser, agents: dict[str, str]) -> None:
    context = await browser.new_context(locale="zh-CN", user_agent=agents["alipay"])
    page = await context.new_page()
    await page.add_init_script(
        "window.AlipayJSBridge = {call: (name, parameters, done) => {"
        " window.asked = [name, parameters]; }};"
    )
    await buy(page, world)
    assert await page.locator("button.method").all_text_contents() == ["支支付宝›"]
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("#bridge")
    name, parameters = await page.evaluate("window.asked")
    [trade] = world.alipay.book.trades.values()
    assert (name, parameters) == ("tradePay", {"tradeNO": trade.trade_no})
    await approve(browser, world)
    await page.wait_for_selector("text=支付成功")
    await shop_is_told(page, world)


async def test_inside_wechat(world: World, browser: Browser, agents: dict[str, str]) -> None:
    context = await browser.new_context(locale="zh-CN", user_agent=agents["wechat"])
    page = await context.new_page()
    await page.add_init_script(
        "window.WeixinJSBridge = {invoke: (name, parameters, done) => {"
        " window.asked = [name, parameters]; }};"
    )
    await buy(page, world)
    assert await page.locator("button.method").all_text_contents() == ["微微信支付›"]
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("#bridge")
    name, parameters = await page.evaluate("window.asked")
    assert name == "getBrandWCPayRequest"
    wallet = await browser.new_page()
    await wallet.goto(f"{world.wechat.base_url}/wallet/scenarios")
    form = "".join(f'<input name="{key}" value="{value}">' for key, value in parameters.items())
    await wallet.set_content(
        f'<form method="post" action="{world.wechat.base_url}/wallet/jsapi">{form}'
        "<button>go</button></form>"
    )
    await wallet.click("button")  # WeChat verifies the parameters before it shows the order
    await wallet.click("text=确认付款")
    await wallet.wait_for_selector("text=支付成功")
    await page.wait_for_selector("text=支付成功")
    await shop_is_told(page, world)


async def test_a_declined_payment_can_be_tried_again(world: World, browser: Browser) -> None:
    page = await browser.new_page(locale="en-US")
    payment = await world.shop.sell(40001, "tea")
    await page.goto(payment["cashier_url"])
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("svg.qr")
    await page.click("text=Pay another way")
    await page.wait_for_selector("button.method")
    await page.click("button.method >> nth=0")
    await page.wait_for_selector("svg.qr")
    await page.goto(f"{payment['cashier_url']}?failed=insufficient_funds&choose=1")
    assert "The balance is too low" in await page.locator('[role="alert"]').inner_text()
