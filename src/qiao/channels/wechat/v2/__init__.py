"""WeChat Pay, API v2 (XML), for merchants still on it, as docs/channels/wechat-v2.md describes it.

Its facts are those of https://pay.weixin.qq.com/doc/v2/merchant/4011937125 and its siblings.
"""

from qiao.channels.wechat.v2.channel import WechatV2Channel

__all__ = ["WechatV2Channel"]
