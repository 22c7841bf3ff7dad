"""What the diagnosis of a WeChat Pay account says, in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from qiao.channels.diagnosis import Finding, Words

PLATFORM: Final = "https://pay.weixin.qq.com/"
KEYS_PAGE: Final = "账户中心 → API安全"
ASKS_API_V3_KEY: Final = Words(
    en="downloaded what is sealed with the APIv3 key: it opens, where there was anything",
    zh="下载用 APIv3 密钥加密的平台证书：（如有）可以解密",
)
ASKS_SECRET: Final = Words(
    en="asked who a payer is, with a code that nobody was given: app_secret is that of appid",
    zh="用不存在的 code 换取 openid：app_secret 与 appid 匹配",
)
ASKS_ORDER: Final = Words(
    en="made an order of 0.01 yuan and closed it: appid and mchid go together",
    zh="创建并关闭了一笔 0.01 元的订单：appid 与 mchid 已绑定",
)


@dataclass(frozen=True, slots=True)
class Say:
    """A finding that waits for its field and what is named in its words."""

    code: str
    text: tuple[str, str]
    remedy: tuple[str, str]

    def finding(self, field: str, **named: object) -> Finding:
        text, remedy = (
            Words(*(one.format(**named) for one in pair)) for pair in (self.text, self.remedy)
        )
        return Finding(code=self.code, field=field, text=text, remedy=remedy)


_ALL: Final = (
    Say(
        "api_v3_key_length",
        ("it is {length} bytes long, and not 32", "长度为 {length} 字节，应为 32 字节"),
        (
            f"copy the APIv3 key (APIv3密钥), not the key of API v2: {PLATFORM} {KEYS_PAGE}",
            f"请填 APIv3密钥（不是 APIv2 密钥）：{PLATFORM} {KEYS_PAGE}",
        ),
    ),
    Say(
        "api_v3_key_wrong",
        ("WeChat Pay seals with another APIv3 key", "微信支付用的是另一个 APIv3 密钥"),
        (
            f"it cannot be shown again: set a new one at {PLATFORM} {KEYS_PAGE}",
            f"密钥不能再次查看，请重新设置：{PLATFORM} {KEYS_PAGE}",
        ),
    ),
    Say(
        "public_key_id_as_serial",
        ("this is the id of WeChat Pay's public key", "这里填的是微信支付公钥 ID"),
        (
            "give the serial of your own merchant certificate (商户API证书)",
            "请填商户API证书的序列号",
        ),
    ),
    Say(
        "platform_serial_as_serial",
        (
            "this is the serial of WeChat Pay's certificate, which is in platform_keys",
            "这里填的是平台证书的序列号（与 platform_keys 相同）",
        ),
        (
            "give the serial of your own merchant certificate (商户API证书)",
            "请填商户API证书的序列号",
        ),
    ),
    Say(
        "serial_not_of_certificate",
        ("certificate has another serial: {serial}", "与 certificate 的序列号 {serial} 不同"),
        ("leave serial_no out, or give {serial}", "请删去 serial_no，或填 {serial}"),
    ),
    Say(
        "serial_refused",
        (
            "WeChat Pay does not know this certificate for mchid, or it was revoked",
            "微信支付不认得该商户的这个证书序列号，或证书已作废",
        ),
        (
            f"compare it with the certificate in use: {PLATFORM} {KEYS_PAGE}",
            f"请核对正在使用的商户API证书：{PLATFORM} {KEYS_PAGE}",
        ),
    ),
    Say(
        "key_not_of_certificate",
        ("it does not belong to certificate", "与 certificate 不是一对"),
        (
            "give apiclient_key.pem and apiclient_cert.pem of the same download",
            "请填同一次下载的 apiclient_key.pem 和 apiclient_cert.pem",
        ),
    ),
    Say(
        "signature_refused",
        (
            "WeChat Pay does not verify our signature: private_key is not that of the certificate "
            "serial_no",
            "微信支付验签失败：private_key 与 serial_no 的证书不是一对",
        ),
        (
            "give apiclient_key.pem, which was made together with that certificate",
            "请填申请该证书时生成的 apiclient_key.pem",
        ),
    ),
    Say(
        "merchant_unknown",
        ("WeChat Pay does not know this merchant", "微信支付不认得这个商户号"),
        (f"compare mchid with {PLATFORM} 账户中心", f"请核对商户号：{PLATFORM} 账户中心"),
    ),
    Say(
        "platform_key_missing",
        ("there is no key of WeChat Pay's", "没有微信支付的公钥或平台证书"),
        (
            f"give its public key (微信支付公钥) by its id: {PLATFORM} {KEYS_PAGE}",
            f"请填微信支付公钥及其 ID：{PLATFORM} {KEYS_PAGE}",
        ),
    ),
    Say(
        "public_key_missing",
        ("the id is there, but not the key", "只有公钥 ID，没有公钥内容"),
        (
            f"give the content of pub_key.pem: {PLATFORM} {KEYS_PAGE} → 微信支付公钥",
            f"请填 pub_key.pem 的内容：{PLATFORM} {KEYS_PAGE} → 微信支付公钥",
        ),
    ),
    Say(
        "public_key_without_id",
        ("a public key is named by its id, not by a serial", "公钥须以公钥 ID 命名，不是序列号"),
        ("name it PUB_KEY_ID_…, as the platform shows it", "请以 PUB_KEY_ID_… 命名，见商户平台"),
    ),
    Say(
        "certificate_under_public_key_id",
        (
            "there is a certificate under the id of a public key",
            "公钥 ID 下填的是证书",
        ),
        (
            "give pub_key.pem here; the certificate is named {serial}",
            "这里请填 pub_key.pem；该证书应以 {serial} 命名",
        ),
    ),
    Say(
        "certificate_serial_mismatch",
        ("this certificate has the serial {serial}", "该证书的序列号是 {serial}"),
        ("name it {serial}", "请以 {serial} 命名"),
    ),
    Say(
        "own_key_as_platform_key",
        (
            "this is your own key or certificate, the pair of private_key",
            "这里填的是商户自己的公钥或证书（与 private_key 是一对）",
        ),
        (
            f"give WeChat Pay's: 微信支付公钥 at {PLATFORM} {KEYS_PAGE}, or the platform "
            "certificate (平台证书)",
            f"请填微信支付公钥（{PLATFORM} {KEYS_PAGE}）或平台证书",
        ),
    ),
    Say(
        "public_key_unknown",
        (
            "WeChat Pay signs with its public key {signer}, which is not here",
            "微信支付用公钥 {signer} 签名，这里没有",
        ),
        (
            f"add it by that id: {PLATFORM} {KEYS_PAGE} → 微信支付公钥",
            f"请以该 ID 添加：{PLATFORM} {KEYS_PAGE} → 微信支付公钥",
        ),
    ),
    Say(
        "certificate_unknown",
        (
            "WeChat Pay signs with its certificate {signer}, which is not here",
            "微信支付用平台证书 {signer} 签名，这里没有",
        ),
        (
            "add the newest platform certificate (平台证书) by that serial",
            "请以该序列号添加最新的平台证书",
        ),
    ),
    Say(
        "platform_key_wrong",
        (
            "WeChat Pay's answer does not verify with it",
            "微信支付的应答用它验签失败",
        ),
        (
            f"copy it again; is it of this merchant? {PLATFORM} {KEYS_PAGE}",
            f"请重新复制，并确认属于该商户：{PLATFORM} {KEYS_PAGE}",
        ),
    ),
    Say(
        "app_of_another_merchant",
        ("appid is not bound to mchid", "appid 与 mchid 没有绑定"),
        (
            f"compare both, and bind them: {PLATFORM} 产品中心 → AppID账号管理",
            f"请核对并绑定：{PLATFORM} 产品中心 → AppID账号管理",
        ),
    ),
    Say(
        "app_unknown",
        ("WeChat does not know this app", "微信不认得这个 appid"),
        ("compare it with the app's own console", "请与公众平台或开放平台核对"),
    ),
    Say(
        "app_secret_wrong",
        ("WeChat refuses it for appid (errcode {said})", "与 appid 不匹配（errcode {said}）"),
        (
            "copy AppSecret of this very appid, or reset it, at https://mp.weixin.qq.com/",
            "请在 https://mp.weixin.qq.com/ 复制该 appid 的 AppSecret，或重置",
        ),
    ),
    Say(
        "address_not_listed",
        ("WeChat does not take it from this machine's address", "本机 IP 不在白名单内"),
        (
            "add the address to IP白名单 at https://mp.weixin.qq.com/",
            "请在 https://mp.weixin.qq.com/ 的 IP白名单 中添加",
        ),
    ),
    Say(
        "product_not_signed",
        ("the merchant may not use this interface", "商户没有此接口的权限"),
        (
            f"apply for the product: {PLATFORM} 产品中心; a provider must be that of sub_mchid",
            f"请开通相应产品：{PLATFORM} 产品中心；服务商须与 sub_mchid 有授权关系",
        ),
    ),
    Say(
        "channel_unavailable",
        ("WeChat Pay has a failure of its own", "微信支付系统繁忙"),
        ("ask again in a minute", "请稍后再试"),
    ),
    Say(
        "refused",
        ("WeChat Pay refuses: {said}", "微信支付拒绝：{said}"),
        (
            "look the code up: https://pay.weixin.qq.com/doc/v3/merchant/4012072670",
            "请查错误码含义：https://pay.weixin.qq.com/doc/v3/merchant/4012072670",
        ),
    ),
)
SAYS: Final[Mapping[str, Say]] = {one.code: one for one in _ALL}
CHINESE: Final = {
    "missing": "缺少此设置项",
    "give the serial of the merchant's certificate, or the certificate itself": (
        "请填商户API证书的序列号，或证书本身"
    ),
}
"""What :mod:`qiao.channels.wechat.account` says that the checks before it do not, in Chinese."""
