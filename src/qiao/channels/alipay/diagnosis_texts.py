"""What the diagnosis of an Alipay account says, in both languages."""

from collections.abc import Mapping
from typing import Final

from qiao.channels.diagnosis import Finding, Words, finding

CONSOLE: Final = "https://open.alipay.com/develop/manage"
CODES_PAGE: Final = "https://opendocs.alipay.com/common/02km9f"
ASKS_ORDER: Final = Words(
    en="made an order of 0.01 yuan, which lapses: the product is signed for",
    zh="创建了一笔 0.01 元的订单（将自动失效）：产品已签约",
)
EXPLAINED: Final[Mapping[str, Finding]] = {
    "invalid-signature-type": finding(
        "sign_type_refused",
        "sign_type",
        ("the app is set to another sign_type", "应用设置的签名类型与 sign_type 不同"),
        ("give RSA2, or RSA for an old app that is set to it", "请改为 RSA2；旧应用可能是 RSA"),
    ),
    "invalid-signature": finding(
        "signature_refused",
        "private_key",
        (
            "Alipay does not verify our signature: private_key is not the pair of the public key "
            "that was uploaded for app_id, or app_id is another app's",
            "支付宝验签失败：private_key 与该 app_id 上传的应用公钥不是一对，"
            "或 app_id 填成了别的应用",
        ),
        (
            f"compare app_id, and upload this key's public half (应用公钥) at {CONSOLE}",
            f"请核对 app_id，并在 {CONSOLE} 上传与此私钥配对的应用公钥",
        ),
    ),
    "invalid-app-id": finding(
        "app_unknown",
        "app_id",
        (
            "this gateway does not know the app",
            "该网关不认得这个应用",
        ),
        (
            "compare app_id with the console; an app of Alipay's sandbox works at the sandbox's "
            "gateway only",
            "请与控制台核对 app_id；沙箱应用只能用沙箱网关",
        ),
    ),
    "root-cert": finding(
        "root_certificate_refused",
        "alipay_root_certificate",
        ("it is not the root certificate of this app", "不是该应用的支付宝根证书"),
        (
            "give alipayRootCert.crt as the console hands it out",
            "请填控制台下载的 alipayRootCert.crt",
        ),
    ),
    "app-cert": finding(
        "app_certificate_refused",
        "app_certificate",
        (
            "Alipay knows another certificate for app_id",
            "支付宝登记的该应用证书与此不同",
        ),
        (
            "give the newest appCertPublicKey_….crt, and compare app_id",
            "请填最新的 appCertPublicKey_….crt，并核对 app_id",
        ),
    ),
    "encrypt-type": finding(
        "aes_key_missing",
        "aes_key",
        ("the app wants encrypted contents", "该应用开启了接口内容加密"),
        (
            "give the key of 接口内容加密方式, or turn it off in the console",
            "请填接口内容加密密钥，或在控制台关闭",
        ),
    ),
    "decrypt": finding(
        "aes_key_wrong",
        "aes_key",
        ("Alipay cannot decrypt with it", "支付宝用登记的密钥无法解密"),
        ("copy 接口内容加密密钥 again", "请重新复制接口内容加密密钥"),
    ),
    "app-auth-token": finding(
        "authorisation_refused",
        "app_auth_token",
        ("the merchant's authorisation is not valid (any more)", "商户授权令牌无效或已失效"),
        ("let the merchant authorise the app again", "请让商户重新授权"),
    ),
    "permission": finding(
        "product_not_signed",
        "app_id",
        ("the app may not use this interface", "该应用没有此接口的权限"),
        ("sign the product's contract, and put the app online", "请签约相应产品并上线应用"),
    ),
    "access_forbidden": finding(
        "product_not_signed",
        "app_id",
        ("the merchant has no contract for this product", "商户没有签约该产品"),
        ("sign for 当面付 at https://b.alipay.com/", "请在 https://b.alipay.com/ 签约当面付"),
    ),
    "isp.": finding(
        "channel_unavailable",
        "gateway",
        ("Alipay has a failure of its own", "支付宝系统繁忙"),
        ("ask again in a minute", "请稍后再试"),
    ),
}
"""By a part of the sub_code in lower case; the first that fits."""
NOT_ALIPAYS_KEY: Final = finding(
    "answer_not_signed_by",
    "alipay_public_key",
    (
        "Alipay's answer does not verify with it: it is another app's or the sandbox's",
        "支付宝的应答用它验签失败：可能是别的应用或沙箱的支付宝公钥",
    ),
    (
        f"give 支付宝公钥 (not 应用公钥) of this app: {CONSOLE}",
        f"请填该应用的支付宝公钥（不是应用公钥）：{CONSOLE}",
    ),
)
NOT_ALIPAYS_CERTIFICATE: Final = finding(
    "answer_not_signed_by",
    "alipay_certificate",
    (
        "Alipay's answer is not signed with it: Alipay changed its own, or it is another app's",
        "支付宝的应答不是用它签名的：支付宝已换证书，或这是别的应用的",
    ),
    (
        "download alipayCertPublicKey_RSA2.crt again; next_alipay_certificate takes a second",
        "请重新下载 alipayCertPublicKey_RSA2.crt；换证期间可填 next_alipay_certificate",
    ),
)
CHINESE: Final = {
    "not an http or https URL without query": "不是 http/https 地址，或带有参数",
    "not a number of that kind": "格式不对",
    "another app authorised nothing here": "没有 app_auth_token，不能填别的应用",
    "with app_auth_token, a notification could be another merchant's": (
        "有 app_auth_token 时，须能分辨通知属于哪个商户"
    ),
    "alipay_public_key and certificates exclude each other": "公钥模式与证书模式只能选一种",
    "nothing tells Alipay's key": "没有支付宝公钥，也没有证书",
    "certificate mode takes three certificates": "证书模式须填三个证书",
    "certificates sign with RSA2": "证书模式只能用 RSA2",
    "holds no RSA certificate": "其中没有 RSA 证书",
    "not an AES key": "不是 AES 密钥",
    "RSA2 takes a key of 2048 bits or more": "RSA2 密钥须 2048 位以上",
    "make a new key with Alipay's key tool and upload its public half": (
        "请用支付宝密钥工具重新生成，并上传公钥"
    ),
    "give the whole address, or leave it out for Alipay's own": "请填完整地址，或不填",
    "keep what the app uses in Alipay's console: 公钥 or 公钥证书": (
        "请按控制台的加签模式（公钥或公钥证书）保留一种"
    ),
    "give the file of that name from Alipay's console": "请填控制台下载的相应证书",
    "give alipayRootCert.crt as Alipay's console hands it out": (
        "请填控制台下载的 alipayRootCert.crt"
    ),
    "give the app's number from the console": "请填控制台的应用编号（APPID）",
    "give the authorising app's number": "请填授权方应用的编号",
    "give the mini program's app number": "请填小程序的编号",
    "give the 16-digit PID that begins with 2088": "请填 2088 开头的 16 位 PID",
    "give app_auth_token too, or leave auth_app_id out": "请补填 app_auth_token，或删去此项",
    "give the merchant's seller_id (PID) or auth_app_id": (
        "请填商户的 seller_id（PID）或 auth_app_id"
    ),
    "give alipay_public_key, or all of app_certificate, alipay_certificate, "
    "alipay_root_certificate": "请填 alipay_public_key，或三个证书",
    "leave sign_type out, or give alipay_public_key instead of certificates": (
        "请删去 sign_type，或改用 alipay_public_key"
    ),
    "give the base64 text that the console shows under 接口内容加密方式": (
        "请填控制台“接口内容加密方式”处的 base64 文本"
    ),
}
"""What :mod:`qiao.channels.alipay.account` says, in Chinese."""
