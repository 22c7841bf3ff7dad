"""Alipay (支付宝): the OpenAPI gateway, as docs/channels/alipay.md describes it.

``channel_type`` is what the platform finds; a script opens an account with
``AlipayChannel(AlipaySettings.read({...}))`` and drives its verbs with a transport.
"""

from qiao.channels.alipay import diagnosis
from qiao.channels.alipay.channel import MANIFEST, AlipayChannel
from qiao.channels.alipay.settings import AlipaySettings
from qiao.channels.interface import ChannelType

channel_type = ChannelType(
    manifest=MANIFEST, settings=AlipaySettings, open=AlipayChannel, diagnosis=diagnosis
)

__all__ = ["AlipayChannel", "AlipaySettings", "channel_type"]
