"""WeChat Pay, API v2 (XML), for merchants still on it, as docs/channels/wechat-v2.md describes it.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011935214 and the pages that each file names.
"""

from qiao.channels.wechat.v2.channel import WechatV2Channel

__all__ = ["WechatV2Channel"]
