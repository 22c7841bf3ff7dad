"""The demonstration, and Chromium to look at it."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from qiao.bootstrap.config import Config
from qiao.demo.world import World, running

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PHONE = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126 Mobile Safari/537.36"


@pytest.fixture(scope="session")
def agents() -> dict[str, str]:
    """User agents of phones' browsers, and of the wallets' webviews."""
    return {
        "phone": PHONE,
        "alipay": f"{PHONE} AlipayDefined(nt:WIFI) AliApp(AP/10.6.0) AlipayClient/10.6.0",
        "wechat": f"{PHONE} XWEB/1160065 MMWEBSDK/20240404 MicroMessenger/8.0.49 WeChat/arm64",
    }


@pytest_asyncio.fixture
async def world(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    config = Config(home=str(tmp_path), database_url=postgres_url)
    async with running(config, lambda _: None) as world:
        yield world


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()
