"""What the cashier says, in Chinese and English."""

from collections.abc import Mapping
from typing import Final

from qiao.web.cashier.devices import Method

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "title": {"zh": "收银台", "en": "Checkout"},
    "summary": {"zh": "订单", "en": "Your order"},
    "amount": {"zh": "应付金额", "en": "Amount to pay"},
    "amount_paid": {"zh": "支付金额", "en": "Amount paid"},
    "amount_of_order": {"zh": "订单金额", "en": "Amount of the order"},
    "order": {"zh": "订单号", "en": "Order number"},
    "choose": {"zh": "选择支付方式", "en": "Choose how to pay"},
    "none": {
        "zh": "这里没有可用的支付方式，请用手机或电脑的浏览器打开本页",
        "en": "There is no way to pay here. Please open this page in your browser.",
    },
    "scan": {"zh": "打开{app}扫一扫", "en": "Scan with {app}"},
    "scan_on_phone": {
        "zh": "用这部手机付款：截屏后打开{app}“扫一扫”，从相册中选取二维码",
        "en": "To pay with this phone: take a screenshot, then pick it in {app}’s scanner.",
    },
    "qr": {"zh": "支付二维码", "en": "Payment QR code"},
    "go": {"zh": "前往{name}付款", "en": "Continue to {name}"},
    "await": {"zh": "请在手机上确认付款", "en": "Please confirm on your phone"},
    "bridge": {"zh": "立即支付", "en": "Pay now"},
    "needs_script": {
        "zh": "此处付款需要 JavaScript，请在设置中开启，或用浏览器打开本页",
        "en": "Paying here needs JavaScript. Please switch it on, or open this page in a browser.",
    },
    "leaving": {"zh": "正在前往付款", "en": "Taking you to your wallet"},
    "go_on": {"zh": "继续", "en": "Continue"},
    "checking": {"zh": "正在确认支付结果", "en": "Checking the result"},
    "checking_more": {
        "zh": "支付渠道尚未应答，通常只需几秒",
        "en": "The payment channel has not answered yet. This usually takes a few seconds.",
    },
    "updates": {"zh": "本页自动更新", "en": "This page updates by itself."},
    "again": {"zh": "重新选择支付方式", "en": "Choose again"},
    "waiting": {
        "zh": "等待付款，完成后本页自动更新",
        "en": "Waiting. This page updates by itself.",
    },
    "expires": {"zh": "剩余支付时间", "en": "Time left to pay"},
    "other": {"zh": "换一种支付方式", "en": "Pay another way"},
    "paid": {"zh": "支付成功", "en": "Payment successful"},
    "paid_more": {"zh": "{merchant} 已收到您的付款", "en": "{merchant} has received your payment."},
    "authorized": {"zh": "授权成功", "en": "Authorized"},
    "authorized_settling": {
        "zh": "资金已冻结，{merchant} 尚未扣款",
        "en": "The amount is held for {merchant}; nothing has been taken yet.",
    },
    "refunded": {"zh": "已全额退款", "en": "Refunded in full"},
    "refunded_more": {
        "zh": "款项已原路退回",
        "en": "The money goes back the way it came.",
    },
    "closed": {"zh": "订单已关闭", "en": "This order is closed"},
    "closed_more": {
        "zh": "如已付款，款项将自动原路退回",
        "en": "If you have paid, your money is returned automatically.",
    },
    "expired": {"zh": "订单已过期", "en": "This order has expired"},
    "expired_more": {
        "zh": "请返回商家重新下单。如已付款，款项将自动原路退回",
        "en": "Please order again at the shop. If you have paid, your money is returned.",
    },
    "closed_settling": {
        "zh": "如刚刚完成付款，请稍候，本页会显示结果",
        "en": "If you have just paid, please wait: this page will show the result.",
    },
    "expired_settling": {
        "zh": "如未付款，请返回商家重新下单。如刚刚完成付款，请稍候，本页会显示结果",
        "en": "If you have not paid, please order again at the shop. If you just have, "
        "please wait: this page will show the result.",
    },
    "back": {"zh": "返回商家", "en": "Back to the shop"},
    "missing": {"zh": "没有找到这笔订单", "en": "There is no such order"},
    "missing_more": {
        "zh": "链接可能不完整，请返回商家重新打开",
        "en": "The link may be incomplete. Please open it again from the shop.",
    },
    "test": {"zh": "测试模式，不会产生真实扣款", "en": "Test mode: no real money"},
    "language": {"zh": "English", "en": "中文"},
}

FAILURES: Final[Mapping[str, Mapping[str, str]]] = {
    "failed": {
        "zh": "支付未成功，请重试，或换一种支付方式",
        "en": "The payment did not go through. Please try again, or pay another way.",
    },
    "insufficient_funds": {
        "zh": "余额不足，请换一种支付方式",
        "en": "The balance is too low. Please pay another way.",
    },
    "account_restricted": {
        "zh": "付款账户受限，请换一个账户或支付方式",
        "en": "The paying account is restricted. Please pay another way.",
    },
    "limit_exceeded": {
        "zh": "超出支付限额，请换一种支付方式",
        "en": "A limit on payments was exceeded. Please pay another way.",
    },
    "payment_method_unavailable": {
        "zh": "没有可用的付款方式，请换一种支付方式",
        "en": "There is nothing to pay with there. Please pay another way.",
    },
    "not_sent": {
        "zh": "暂时无法连接支付渠道，没有扣款，请重试",
        "en": "The payment channel could not be reached. Nothing was charged; please try again.",
    },
    "attempt_in_progress": {
        "zh": "上一笔付款仍在确认中，请稍候再试",
        "en": "An earlier payment is still being checked. Please wait a moment.",
    },
    "payment_not_open": {
        "zh": "订单已不能支付",
        "en": "This order can no longer be paid.",
    },
}
"""By the codes of declined attempts and refused requests; every other code is ``failed``."""

APPS: Final[Mapping[str, Mapping[str, str]]] = {
    "wechat": {"zh": "微信", "en": "WeChat"},
    "wechat_v2": {"zh": "微信", "en": "WeChat"},
}
"""The app with which a channel's code is scanned, where it is not called like the channel."""


def text(key: str, language: str, **values: str) -> str:
    """The text in that language. Raises KeyError for one that does not exist."""
    return (TEXTS.get(key) or FAILURES[key])[language].format(**values)


def app_name(method: Method, language: str) -> str:
    """What the customer opens on the phone."""
    return APPS.get(method.channel, {}).get(language, method.name)
