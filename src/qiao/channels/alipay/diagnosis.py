"""What is wrong with an Alipay account, found in its settings and by asking the gateway.

Source: https://opendocs.alipay.com/common/02km9f (gateway codes) and facts of Alipay OpenAPI.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from qiao.channels.alipay.account import Account
from qiao.channels.alipay.channel import AlipayChannel
from qiao.channels.alipay.codes import TRADE_NOT_EXIST
from qiao.channels.alipay.diagnosis_texts import (
    ASKS_ORDER,
    CHINESE,
    CODES_PAGE,
    CONSOLE,
    EXPLAINED,
    NOT_ALIPAYS_CERTIFICATE,
    NOT_ALIPAYS_KEY,
)
from qiao.channels.alipay.gateway import Gateway
from qiao.channels.alipay.settings import AlipaySettings
from qiao.channels.alipay.signing import members
from qiao.channels.diagnosis import (
    ASKS_UNKNOWN,
    Finding,
    Findings,
    Probe,
    Words,
    clock_skew,
    missing_fields,
    not_the_gateway,
    outside_its_time,
    own_key,
    refused,
    trial_order,
    wrong_clock,
    wrong_material,
)
from qiao.channels.requests import Context
from qiao.channels.wire import HttpResponse
from qiao.crypto.certificates import Certificate
from qiao.crypto.material import Material, material_of
from qiao.crypto.rsa import RsaHash, load_public_key, verifies
from qiao.domain.errors import AnswerForged, AnswerUnreadable, InvalidSettings
from qiao.domain.outcomes import Declined

METHOD: Final = "alipay.trade.query"
CERTIFICATES: Final = ("app_certificate", "alipay_certificate", "next_alipay_certificate")
OK: Final = 200


def check(values: Mapping[str, object], now: datetime) -> Sequence[Finding]:
    """What the settings alone show; see :class:`qiao.channels.diagnosis.Diagnosis`."""
    if found := missing_fields(AlipaySettings, values):
        return found
    settings = AlipaySettings.read(values)
    problems = [
        wrong_material("private_key", settings.private_key, Material.PRIVATE_KEY),
        *_of_key_mode(settings),
        *_of_certificates(settings, now),
    ]
    if found := [one for one in problems if one is not None]:
        return found
    try:
        Account.load(settings)
    except InvalidSettings as error:
        return [refused(error, CHINESE)]
    return []


def probes(values: Mapping[str, object], context: Context, *, with_order: bool) -> Sequence[Probe]:
    """What to ask; see :class:`qiao.channels.diagnosis.Diagnosis`."""
    settings = AlipaySettings.read(values)
    gateway = Gateway(account=Account.load(settings))
    asked = [Probe(field="gateway", asks=ASKS_UNKNOWN, operation=_query(gateway, context))]
    if with_order:
        channel = AlipayChannel(settings)
        asked.append(Probe(field="gateway", asks=ASKS_ORDER, operation=_order(channel, context)))
    return asked


def _of_key_mode(settings: AlipaySettings) -> list[Finding | None]:
    text = settings.alipay_public_key
    if text is None:
        return []
    given = material_of(text)
    if given is Material.CERTIFICATE:
        return [
            Finding(
                code="certificate_in_key_mode",
                field="alipay_public_key",
                text=Words(en="this is a certificate", zh="这里填的是证书"),
                remedy=Words(
                    en="in certificate mode (公钥证书) give app_certificate, alipay_certificate "
                    "and alipay_root_certificate, and leave alipay_public_key out",
                    zh="公钥证书模式请填 app_certificate、alipay_certificate 和 "
                    "alipay_root_certificate，并删去 alipay_public_key",
                ),
            )
        ]
    if given is not Material.PUBLIC_KEY:
        return [wrong_material("alipay_public_key", text, Material.PUBLIC_KEY)]
    if not _readable(settings) or not own_key(settings.private_key, load_public_key(text)):
        return []
    return [
        Finding(
            code="own_public_key",
            field="alipay_public_key",
            text=Words(
                en="this is your app's own public key (应用公钥), the pair of private_key",
                zh="这里填的是应用公钥（与 private_key 是一对），不是支付宝公钥",
            ),
            remedy=Words(
                en=f"give Alipay's (支付宝公钥): {CONSOLE} shows it where your own was uploaded",
                zh=f"请填支付宝公钥：在 {CONSOLE} 上传应用公钥后显示",
            ),
        )
    ]


def _of_certificates(settings: AlipaySettings, now: datetime) -> list[Finding | None]:
    found: list[Finding | None] = []
    readable: dict[str, Certificate] = {}
    for name in CERTIFICATES:
        text = getattr(settings, name)
        if text is None:
            continue
        wrong = wrong_material(name, text, Material.CERTIFICATE)
        found.append(wrong)
        if wrong is None:
            readable[name] = Certificate.from_pem(text)
            found.append(outside_its_time(name, readable[name], now))
    if not _readable(settings):
        return found
    own = {name for name, one in readable.items() if own_key(settings.private_key, one.public_key)}
    app, theirs = readable.get("app_certificate"), readable.get("alipay_certificate")
    if app is not None and "app_certificate" not in own:
        found.append(_certificates_swapped() if "alipay_certificate" in own else _not_its_key())
    elif theirs is not None and "alipay_certificate" in own:
        found.append(
            Finding(
                code="own_certificate",
                field="alipay_certificate",
                text=Words(en="this is your app's own certificate", zh="这里填的是应用证书"),
                remedy=Words(
                    en="give alipayCertPublicKey_RSA2.crt", zh="请填 alipayCertPublicKey_RSA2.crt"
                ),
            )
        )
    return found


def _certificates_swapped() -> Finding:
    return Finding(
        code="certificates_swapped",
        field="app_certificate",
        text=Words(
            en="app_certificate and alipay_certificate are exchanged",
            zh="app_certificate 与 alipay_certificate 填反了",
        ),
        remedy=Words(
            en="appCertPublicKey_….crt is app_certificate, alipayCertPublicKey_RSA2.crt the other",
            zh="appCertPublicKey_….crt 填 app_certificate，alipayCertPublicKey_RSA2.crt 填另一项",
        ),
    )


def _not_its_key() -> Finding:
    return Finding(
        code="key_not_of_certificate",
        field="private_key",
        text=Words(en="it does not belong to app_certificate", zh="与 app_certificate 不是一对"),
        remedy=Words(
            en="give the key with which the certificate was requested, or request a new one",
            zh="请填申请该证书（CSR）时的私钥，或重新申请证书",
        ),
    )


def _readable(settings: AlipaySettings) -> bool:
    return material_of(settings.private_key) is Material.PRIVATE_KEY


def _query(gateway: Gateway, context: Context) -> Findings:
    content = {"out_trade_no": f"qd{context.nonce()[:26].lower()}"}
    response = yield gateway.request(METHOD, content, context, effect=False)
    if skewed := clock_skew(response, context.now()):
        return [skewed]
    if response.status != OK:
        return [not_the_gateway("gateway", response.status)]
    account = gateway.account
    try:
        answer = gateway.read(METHOD, response)
    except AnswerForged:
        if _signed_with_other_hash(account, response):
            return [EXPLAINED["invalid-signature-type"]]
        return [NOT_ALIPAYS_CERTIFICATE if account.certificate_mode else NOT_ALIPAYS_KEY]
    except AnswerUnreadable:
        if account.aes_key is not None:
            return [EXPLAINED["decrypt"]]
        return [not_the_gateway("gateway", response.status)]
    if answer.succeeded or answer.business_code == TRADE_NOT_EXIST:
        return []
    return [explain(answer.sub_code, answer.code)]


def _signed_with_other_hash(account: Account, response: HttpResponse) -> bool:
    """Alipay signs as the app is set in its console, even where it refuses another sign_type."""
    found = members(response.body)
    signature = str(found["sign"].value) if "sign" in found else ""
    others = [hash_ for hash_ in RsaHash if hash_ is not account.hash]
    return any(
        verifies(key, node.raw, signature, hash_)
        for name, node in found.items()
        if name.endswith("_response")
        for key in account.alipay_keys.values()
        for hash_ in others
    )


def _order(channel: AlipayChannel, context: Context) -> Findings:
    outcome = yield from trial_order(channel, context)
    if isinstance(outcome, Declined):
        return [explain(outcome.channel_code or "")]
    return []


def explain(sub_code: str, code: str = "") -> Finding:
    """What a refusal means for the settings."""
    if sub_code == "isv.invalid-timestamp":
        return wrong_clock()
    lowered = sub_code.lower()
    for part, found in EXPLAINED.items():
        if part in lowered:
            return found
    said = "".join(one for one in f"{code} {sub_code}" if one.isalnum() or one in " .-_").strip()
    return Finding(
        code="refused",
        field="gateway",
        text=Words(en=f"Alipay refuses: {said}", zh=f"支付宝拒绝：{said}"),
        remedy=Words(en=f"look the code up: {CODES_PAGE}", zh=f"请查错误码含义：{CODES_PAGE}"),
    )
