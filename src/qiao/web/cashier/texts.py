"""What the cashier says, in Chinese and English."""

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "title": {"zh": "收银台", "en": "Checkout"},
    "amount": {"zh": "金额", "en": "Amount"},
    "order": {"zh": "订单号", "en": "Order"},
    "choose": {"zh": "选择支付方式", "en": "Choose how to pay"},
    "pay": {"zh": "支付", "en": "Pay"},
    "none": {
        "zh": "此处没有可用的支付方式，请换用其他浏览器打开",
        "en": "No way to pay works here. Please open this page in another browser.",
    },
    "scan": {"zh": "请用 {name} 扫一扫", "en": "Scan with {name}"},
    "qr": {"zh": "支付二维码", "en": "Payment QR code"},
    "go": {"zh": "前往 {name} 支付", "en": "Continue to {name}"},
    "await": {"zh": "请在手机上确认支付", "en": "Please confirm on your phone"},
    "bridge": {"zh": "立即支付", "en": "Pay now"},
    "checking": {"zh": "正在确认支付结果，请稍候", "en": "Checking with the payment channel…"},
    "waiting": {"zh": "等待支付", "en": "Waiting for the payment"},
    "expires": {"zh": "剩余时间", "en": "Time left"},
    "other": {"zh": "换一种支付方式", "en": "Pay another way"},
    "paid": {"zh": "支付成功", "en": "Paid"},
    "refunded": {"zh": "已退款", "en": "Refunded"},
    "closed": {"zh": "订单已关闭", "en": "This order is closed"},
    "closed_more": {
        "zh": "如已付款，款项将自动原路退回",
        "en": "Money that was paid too late goes back by itself.",
    },
    "back": {"zh": "返回商家", "en": "Back to the shop"},
    "failed": {"zh": "支付未成功，请重试", "en": "That did not work. Please try again."},
    "insufficient_funds": {"zh": "余额不足，请换一种支付方式", "en": "Not enough money there."},
    "account_restricted": {"zh": "付款账户受限", "en": "The paying account is restricted."},
    "attempt_in_progress": {
        "zh": "上一笔支付仍在确认中，请稍候再试",
        "en": "An earlier payment is still being checked. Please wait a moment.",
    },
    "missing": {"zh": "没有找到这笔订单", "en": "There is no such order"},
    "test": {"zh": "测试模式，不会产生真实扣款", "en": "Test mode: no real money"},
    "language": {"zh": "English", "en": "中文"},
}


def text(key: str, language: str, **values: str) -> str:
    """The text; an unknown key is that of a failure."""
    return TEXTS.get(key, TEXTS["failed"])[language].format(**values)
