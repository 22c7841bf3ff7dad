"""Where the customer's browser runs, and what can be paid with there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qiao.channels.interface import Manifest
from qiao.channels.requests import Product


class Environment(StrEnum):
    """Wallets open pages in a webview of their own, which says so in its user agent."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    MOBILE = "mobile"
    DESKTOP = "desktop"


PRODUCTS: Final[Mapping[Environment, tuple[Product, ...]]] = {
    Environment.WECHAT: (Product.OFFICIAL_ACCOUNT,),
    Environment.ALIPAY: (Product.OFFICIAL_ACCOUNT, Product.H5),
    Environment.MOBILE: (Product.H5, Product.QR),
    Environment.DESKTOP: (Product.QR, Product.PAGE),
}
"""What works in each environment, the best first."""
LANGUAGES: Final = ("zh", "en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to pay that the customer may choose."""

    channel: str
    product: Product
    name: str


def environment_of(user_agent: str) -> Environment:
    """Recognised by what WeChat and Alipay write into their user agents."""
    agent = user_agent.lower()
    if "micromessenger" in agent:
        return Environment.WECHAT
    if "alipayclient" in agent:
        return Environment.ALIPAY
    if any(word in agent for word in ("mobile", "android", "iphone", "harmony")):
        return Environment.MOBILE
    return Environment.DESKTOP


def methods_for(
    environment: Environment,
    manifests: Sequence[Manifest],
    *,
    currency: str,
    admitted: Sequence[str],
    language: str,
) -> list[Method]:
    """One method for each channel that works here; in a wallet, its own channels alone.

    ``admitted`` limits the channels when it is not empty.
    """
    wallet = environment in (Environment.WECHAT, Environment.ALIPAY)
    found = []
    for manifest in manifests:
        theirs = manifest.id.partition("_")[0] == environment
        usable = currency in manifest.currencies and (not admitted or manifest.id in admitted)
        if not usable or (wallet and not theirs):
            continue
        product = next((one for one in PRODUCTS[environment] if one in manifest.products), None)
        if product is not None:
            name = manifest.name[language]
            found.append(Method(channel=manifest.id, product=product, name=name))
    return found


def language_of(chosen: str | None, accept_language: str) -> str:
    """The chosen language, or the first that the browser wants and we have; Chinese otherwise."""
    if chosen in LANGUAGES:
        return chosen
    for part in accept_language.split(","):
        wanted = part.partition(";")[0].strip().lower().partition("-")[0]
        if wanted in LANGUAGES:
            return wanted
    return LANGUAGES[0]
