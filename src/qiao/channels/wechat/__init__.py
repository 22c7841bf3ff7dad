"""WeChat Pay (微信支付), API v3 and v2, as docs/channels/wechat.md and wechat-v2.md describe it.

``channel_type`` is what the platform finds; a script opens an account with
``open_account(WechatAccountSettings.read({...}))`` and drives its verbs with a transport.
"""

from dataclasses import replace
from typing import Final

from qiao.channels.interface import ChannelType
from qiao.channels.wechat import diagnosis
from qiao.channels.wechat.channel import MANIFEST, WechatChannel
from qiao.channels.wechat.settings import WechatAccountSettings, WechatSettings, WechatV2Settings
from qiao.channels.wechat.v2 import WechatV2Channel
from qiao.channels.wechat.v2.channel import MANIFEST_WITH_AGREEMENTS, open_channel


def open_account(settings: WechatAccountSettings) -> WechatChannel | WechatV2Channel:
    """The channel of one account, on the version of the API that its settings are of."""
    match settings:
        case WechatV2Settings():
            return open_channel(settings)
        case WechatSettings():
            return WechatChannel(settings)
        case _:
            message = "settings come from WechatAccountSettings.read"
            raise TypeError(message)


_MANIFEST: Final = replace(
    MANIFEST,
    capabilities=MANIFEST.capabilities | MANIFEST_WITH_AGREEMENTS.capabilities,
    agreement_products=MANIFEST_WITH_AGREEMENTS.agreement_products,
)
"""What an account may have, on either version of the API."""
channel_type = ChannelType(
    manifest=_MANIFEST, settings=WechatAccountSettings, open=open_account, diagnosis=diagnosis
)

__all__ = [
    "WechatAccountSettings",
    "WechatChannel",
    "WechatSettings",
    "WechatV2Channel",
    "WechatV2Settings",
    "channel_type",
    "open_account",
]
