"""WeChat Pay (微信支付), API v3, as docs/channels/wechat.md describes it.

``channel_type`` is what the platform finds; a script opens an account with
``WechatChannel(WechatSettings.read({...}))`` and drives its verbs with a transport.
"""

from qiao.channels.interface import ChannelType
from qiao.channels.wechat import diagnosis
from qiao.channels.wechat.channel import MANIFEST, WechatChannel
from qiao.channels.wechat.settings import WechatSettings

channel_type = ChannelType(
    manifest=MANIFEST, settings=WechatSettings, open=WechatChannel, diagnosis=diagnosis
)

__all__ = ["WechatChannel", "WechatSettings", "channel_type"]
