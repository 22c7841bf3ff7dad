"""What is wrong with a WeChat Pay account, found in its settings and by asking WeChat Pay.

Sources: https://pay.weixin.qq.com/doc/v3/merchant/4012072670 (signature errors) and facts of
WeChat Pay API v3.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from qiao.channels.diagnosis import (
    ASKS_UNKNOWN,
    Finding,
    Findings,
    General,
    Probe,
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
from qiao.channels.wechat.account import API_V3_KEY_BYTES, PUBLIC_KEY_PREFIX, Account
from qiao.channels.wechat.channel import WechatChannel
from qiao.channels.wechat.codes import NOT_FOUND
from qiao.channels.wechat.diagnosis_texts import (
    ASKS_API_V3_KEY,
    ASKS_ORDER,
    ASKS_SECRET,
    CHINESE,
    SAYS,
)
from qiao.channels.wechat.gateway import Gateway, loose, read_object, signature_problem
from qiao.channels.wechat.payments import merchant, order_path
from qiao.channels.wechat.settings import WechatSettings, WechatV2Settings
from qiao.channels.wechat.v2 import WechatV2Channel
from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.crypto.aes import DecryptionFailed, decrypt_gcm
from qiao.crypto.certificates import Certificate
from qiao.crypto.material import Material, material_of
from qiao.crypto.rsa import load_public_key
from qiao.domain.errors import AnswerUnreadable, InvalidSettings
from qiao.domain.outcomes import Declined

OK: Final = 200
UNAUTHORIZED: Final = 401
WRONG_CODE: Final = 40029
WRONG_SECRET: Final = frozenset({40001, 40125})
UNKNOWN_APP: Final = frozenset({40013, 41002})
OTHER_ADDRESS: Final = 40164
_V2: Final = General(WechatV2Settings, WechatV2Channel)


def check(values: Mapping[str, object], now: datetime) -> Sequence[Finding]:
    """What the settings alone show; see :class:`qiao.channels.diagnosis.Diagnosis`."""
    if values.get("api_version") == "v2":
        return _V2.check(values, now)
    if found := missing_fields(WechatSettings, values):
        return found
    settings = WechatSettings.read(values)
    problems = [
        wrong_material("private_key", settings.private_key, Material.PRIVATE_KEY),
        _of_api_v3_key(settings),
        _of_serial(settings),
        *_of_certificate(settings, now),
        *_of_platform_keys(settings, now),
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
    if values.get("api_version") == "v2":
        return _V2.probes(values, context, with_order=with_order)
    settings = WechatSettings.read(values)
    gateway = Gateway(account=Account.load(settings))
    asked = [
        Probe(field="gateway", asks=ASKS_UNKNOWN, operation=_query(gateway, context)),
        Probe(field="gateway", asks=ASKS_API_V3_KEY, operation=_api_v3_key(gateway, context)),
    ]
    if settings.app_secret:
        asked.append(Probe(field="oauth_gateway", asks=ASKS_SECRET, operation=_secret(settings)))
    if with_order:
        order = _order(WechatChannel(settings), context)
        asked.append(Probe(field="gateway", asks=ASKS_ORDER, operation=order))
    return asked


def _of_api_v3_key(settings: WechatSettings) -> Finding | None:
    length = len(settings.api_v3_key.encode())
    if length == API_V3_KEY_BYTES:
        return None
    return SAYS["api_v3_key_length"].finding("api_v3_key", length=length)


def _of_serial(settings: WechatSettings) -> Finding | None:
    serial = (settings.serial_no or "").upper()
    if serial.startswith(PUBLIC_KEY_PREFIX):
        return SAYS["public_key_id_as_serial"].finding("serial_no")
    if serial and serial in (name.upper() for name in settings.platform_keys):
        return SAYS["platform_serial_as_serial"].finding("serial_no")
    return None


def _of_certificate(settings: WechatSettings, now: datetime) -> list[Finding | None]:
    """The merchant's own certificate, when it is given."""
    if settings.certificate is None:
        return []
    wrong = wrong_material("certificate", settings.certificate, Material.CERTIFICATE)
    if wrong is not None:
        return [wrong]
    certificate = Certificate.from_pem(settings.certificate)
    found = [outside_its_time("certificate", certificate, now)]
    if settings.serial_no and settings.serial_no.upper().lstrip("0") != certificate.serial:
        found.append(
            SAYS["serial_not_of_certificate"].finding("serial_no", serial=certificate.serial)
        )
    if _readable(settings) and not own_key(settings.private_key, certificate.public_key):
        found.append(SAYS["key_not_of_certificate"].finding("private_key"))
    return found


def _of_platform_keys(settings: WechatSettings, now: datetime) -> list[Finding | None]:
    if not settings.platform_keys:
        return [SAYS["platform_key_missing"].finding("platform_keys")]
    found: list[Finding | None] = []
    for name, text in settings.platform_keys.items():
        found += _of_platform_key(settings, name, text, now)
    return found


def _of_platform_key(
    settings: WechatSettings, name: str, text: str, now: datetime
) -> list[Finding | None]:
    field, given = f"platform_keys.{name}", material_of(text)
    named_as_key = name.upper().startswith(PUBLIC_KEY_PREFIX)
    if named_as_key and given is Material.EMPTY:
        return [SAYS["public_key_missing"].finding(field)]
    if given not in (Material.PUBLIC_KEY, Material.CERTIFICATE):
        wanted = Material.PUBLIC_KEY if named_as_key else Material.CERTIFICATE
        return [wrong_material(field, text, wanted)]
    key = load_public_key(text)
    if _readable(settings) and own_key(settings.private_key, key):
        return [SAYS["own_key_as_platform_key"].finding(field)]
    if given is Material.PUBLIC_KEY:
        return [] if named_as_key else [SAYS["public_key_without_id"].finding(field)]
    certificate = Certificate.from_pem(text)
    if named_as_key:
        return [SAYS["certificate_under_public_key_id"].finding(field, serial=certificate.serial)]
    if name.upper().lstrip("0") != certificate.serial:
        return [SAYS["certificate_serial_mismatch"].finding(field, serial=certificate.serial)]
    return [outside_its_time(field, certificate, now)]


def _readable(settings: WechatSettings) -> bool:
    return material_of(settings.private_key) is Material.PRIVATE_KEY


def _query(gateway: Gateway, context: Context) -> Findings:
    path = order_path(gateway, f"out-trade-no/qd{context.nonce()[:26].lower()}")
    response = yield gateway.request("GET", path, context, query=merchant(gateway.account))
    if skewed := clock_skew(response, context.now()):
        return [skewed]
    told = _body(response)
    if response.status == UNAUTHORIZED and told:
        return [_unauthorized(str(told.get("message")))]
    if not told:
        return [not_the_gateway("gateway", response.status)]
    account = gateway.account
    if signature_problem(account, response.headers, response.body, context.now()) is not None:
        return [_not_signed_by(account, response)]
    code = loose(str(told.get("code", "")))
    if response.status == OK or code in NOT_FOUND:
        return []
    return [explain(code)]


def _body(response: HttpResponse) -> dict[str, Any]:
    try:
        return read_object(response.body)
    except AnswerUnreadable:
        return {}


def _unauthorized(message: str) -> Finding:
    """WeChat Pay says in words which part of our signature it does not accept."""
    if "时间戳" in message:
        return wrong_clock()
    if "序列号" in message:
        return SAYS["serial_refused"].finding("serial_no")
    if "格式" in message or "商户号" in message:
        return SAYS["merchant_unknown"].finding("mchid")
    return SAYS["signature_refused"].finding("private_key")


def _not_signed_by(account: Account, response: HttpResponse) -> Finding:
    signer = "".join(
        one
        for one in response.headers.get("wechatpay-serial", "")[:64]
        if one.isalnum() or one == "_"
    )
    if not signer:
        return not_the_gateway("gateway", response.status)
    known = next((name for name in account.platform_keys if name == signer.upper()), None)
    if known is not None:
        return SAYS["platform_key_wrong"].finding(f"platform_keys.{known}")
    code = "public_key_unknown" if signer.startswith(PUBLIC_KEY_PREFIX) else "certificate_unknown"
    return SAYS[code].finding("platform_keys", signer=signer)


def explain(code: str) -> Finding:
    """What an error code (without underscores) means for the settings."""
    known = {
        "APPIDMCHIDNOTMATCH": ("app_of_another_merchant", "appid"),
        "APPIDNOTEXIST": ("app_unknown", "appid"),
        "MCHNOTEXISTS": ("merchant_unknown", "mchid"),
        "SIGNERROR": ("signature_refused", "private_key"),
        "NOAUTH": ("product_not_signed", "mchid"),
        "SYSTEMERROR": ("channel_unavailable", "gateway"),
    }
    if code in known:
        name, field = known[code]
        return SAYS[name].finding(field)
    said = "".join(one for one in code[:40] if one.isalnum()) or "?"
    return SAYS["refused"].finding("gateway", said=said)


def _api_v3_key(gateway: Gateway, context: Context) -> Findings:
    """Certificates come sealed with the APIv3 key. A merchant without any learns nothing here."""
    response = yield gateway.request("GET", "/v3/certificates", context)
    data = _body(response).get("data")
    if response.status != OK or not isinstance(data, list) or not data:
        return []
    sealed = data[0].get("encrypt_certificate") if isinstance(data[0], dict) else None
    if not isinstance(sealed, dict):
        return []
    try:
        decrypt_gcm(
            gateway.account.api_v3_key,
            str(sealed.get("ciphertext")),
            nonce=str(sealed.get("nonce")).encode(),
            associated_data=str(sealed.get("associated_data") or "").encode(),
        )
    except DecryptionFailed:
        return [SAYS["api_v3_key_wrong"].finding("api_v3_key")]
    return []


def _secret(settings: WechatSettings) -> Findings:
    """A code that nobody was given: whether app and secret go together is told before it."""
    asked = {
        "appid": settings.appid,
        "secret": settings.app_secret or "",
        "code": "qiao-doctor",
        "grant_type": "authorization_code",
    }
    response = yield HttpRequest(
        method="GET",
        url=f"{settings.oauth_gateway}/sns/oauth2/access_token?{urlencode(asked)}",
        effect=False,
    )
    said = _body(response).get("errcode")
    if said in WRONG_SECRET:
        return [SAYS["app_secret_wrong"].finding("app_secret", said=said)]
    if said in UNKNOWN_APP:
        return [SAYS["app_unknown"].finding("appid")]
    if said == OTHER_ADDRESS:
        return [SAYS["address_not_listed"].finding("app_secret")]
    if said != WRONG_CODE:
        return [not_the_gateway("oauth_gateway", response.status)]
    return []


def _order(channel: WechatChannel, context: Context) -> Findings:
    outcome = yield from trial_order(channel, context)
    return [explain(outcome.channel_code or "")] if isinstance(outcome, Declined) else []
