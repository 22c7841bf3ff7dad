"""What is wrong with an account's settings, said so that the reader can mend it.

A channel may bring a :class:`Diagnosis`; what its checks have in common stands here. Like every
part of a channel it is sans-I/O: it reads values, and yields requests. No text holds a secret.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from qiao.channels.requests import Context, PaymentQuery, PaymentRequest, Product
from qiao.channels.settings import Settings
from qiao.channels.wire import HttpResponse, Operation
from qiao.crypto.certificates import Certificate
from qiao.crypto.material import Material, material_of
from qiao.crypto.rsa import load_private_key
from qiao.domain.errors import InvalidSettings
from qiao.domain.money import Money

MAX_SKEW: Final = timedelta(seconds=60)
"""Far less than channels tolerate, so that it is told before it hurts."""
DATE_FORMAT: Final = "%Y-%m-%d"


class Words(msgspec.Struct, frozen=True):
    """One text in both languages."""

    en: str
    zh: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: ``code`` for programs, the rest for people."""

    code: str
    field: str
    text: Words
    remedy: Words


def finding(code: str, field: str, text: tuple[str, str], remedy: tuple[str, str]) -> Finding:
    """A finding from pairs of English and Chinese."""
    return Finding(code=code, field=field, text=Words(*text), remedy=Words(*remedy))


Findings = Operation[Sequence[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One harmless question to the channel. ``field`` is the setting that says where it goes."""

    field: str
    asks: Words
    operation: Findings


class Diagnosis(Protocol):
    """A channel's own: a module or an object with these two."""

    def check(self, values: Mapping[str, object], now: datetime) -> Sequence[Finding]:
        """What the settings alone show. Raises nothing, whatever the values are."""
        ...

    def probes(
        self, values: Mapping[str, object], context: Context, *, with_order: bool
    ) -> Sequence[Probe]:
        """What to ask, for values in which nothing was found. The first finding ends the asking.

        Only ``with_order`` may leave a trace at the channel: one order, closed at once.
        """
        ...


def missing_fields(kind: type[Settings], values: Mapping[str, object]) -> list[Finding]:
    """Every field that is missing, unknown or of the wrong type; not only the first."""
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    found = [_unknown(name, known) for name in values if name not in known]
    for name, field in known.items():
        if name not in values:
            if field.required:
                found.append(_missing(name))
            continue
        try:
            msgspec.convert(values[name], field.type)
        except msgspec.ValidationError as error:
            text = str(error).partition(" - at ")[0]
            found.append(
                Finding(
                    code="wrong_type",
                    field=name,
                    text=Words(en=text, zh=f"类型不对（{text}）"),
                    remedy=Words(
                        en="see the channel's page for what it takes", zh="请参照渠道文档填写"
                    ),
                )
            )
    return found


def _unknown(name: str, known: Iterable[str]) -> Finding:
    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return finding(
        "unknown_field",
        name,
        ("there is no such setting", "没有这个设置项"),
        (f"is {close[0]} meant?", f"是否应为 {close[0]}？")
        if close
        else ("leave it out; is the channel the right one?", "请删去，并确认渠道没有选错"),
    )


def _missing(name: str) -> Finding:
    return Finding(
        code="missing_field",
        field=name,
        text=Words(en="it is missing", zh="缺少此设置项"),
        remedy=Words(en="give it; the channel's page says where it is found", zh="请填写此项"),
    )


def wrong_material(field: str, text: str, wanted: Material) -> Finding | None:
    """Why the text is not the key or certificate that the field takes; None when it is."""
    given = material_of(text)
    if given is wanted:
        return None
    remedy = _REMEDIES[wanted]
    code = f"{given}_given" if given in _NAMES else str(given)
    said = _NAMES.get(given)
    if said is not None:
        words = Words(en=f"this is {said.en}", zh=f"这里填的是{said.zh}")
    elif given is Material.EMPTY:
        words = Words(en="it is empty", zh="内容为空")
    elif given is Material.ENCRYPTED_KEY:
        words = Words(en="the key is protected by a password", zh="私钥带有密码")
        remedy = Words(en="give it without a password", zh="请填去除密码后的私钥")
    else:
        words = Words(
            en="unreadable: cut off, altered in copying, or not of RSA",
            zh="无法读取：内容不完整、复制时被改动，或不是 RSA",
        )
    return Finding(code=code, field=field, text=words, remedy=remedy)


_NAMES: Final = {
    Material.PRIVATE_KEY: Words(en="a private key", zh="私钥"),
    Material.PUBLIC_KEY: Words(en="a public key", zh="公钥"),
    Material.CERTIFICATE: Words(en="a certificate", zh="证书"),
}
_REMEDIES: Final = {
    Material.PRIVATE_KEY: Words(
        en="give your own private key: PEM or its base64 body, PKCS#1 or PKCS#8, complete",
        zh="请填自己的私钥：PEM 或其 base64 正文，PKCS#1、PKCS#8 均可，须完整",
    ),
    Material.PUBLIC_KEY: Words(
        en="give the channel's public key: PEM or its base64 body, complete",
        zh="请填渠道的公钥：PEM 或其 base64 正文，须完整",
    ),
    Material.CERTIFICATE: Words(
        en="give the whole certificate file, from BEGIN to END CERTIFICATE",
        zh="请填完整的证书文件内容，从 BEGIN CERTIFICATE 到 END CERTIFICATE",
    ),
}


def outside_its_time(field: str, certificate: Certificate, now: datetime) -> Finding | None:
    """A certificate that has expired, or is not valid yet (then a clock may be wrong too)."""
    if now >= certificate.not_after:
        day = certificate.not_after.strftime(DATE_FORMAT)
        return Finding(
            code="certificate_expired",
            field=field,
            text=Words(en=f"the certificate expired on {day}", zh=f"证书已于 {day} 过期"),
            remedy=Words(
                en="get the new one from the channel's console", zh="请到商户后台下载新证书"
            ),
        )
    if now < certificate.not_before:
        day = certificate.not_before.strftime(DATE_FORMAT)
        return Finding(
            code="certificate_not_yet_valid",
            field=field,
            text=Words(
                en=f"the certificate is valid only from {day} on", zh=f"证书自 {day} 起才有效"
            ),
            remedy=Words(
                en="use the one before until then, or set this machine's clock",
                zh="在此之前请用旧证书，或校准本机时间",
            ),
        )
    return None


def own_key(private_key: str, public_key: RSAPublicKey) -> bool:
    """Whether the two are halves of one pair; ``private_key`` has been found readable."""
    own = load_private_key(private_key).public_key()
    return own.public_numbers() == public_key.public_numbers()


def refused(error: InvalidSettings, chinese: Mapping[str, str]) -> Finding:
    """What the account itself refuses; ``chinese`` translates its messages."""
    said = str(error.args[0])
    return Finding(
        code="settings_refused",
        field=error.field.removeprefix("settings."),
        text=Words(en=said, zh=chinese.get(said, said)),
        remedy=Words(en=error.remedy, zh=chinese.get(error.remedy, error.remedy)),
    )


def clock_skew(response: HttpResponse, now: datetime) -> Finding | None:
    """How far this machine's clock is from the Date that the channel answered with."""
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    seconds = round((now - theirs).total_seconds())
    return wrong_clock(seconds) if abs(seconds) > MAX_SKEW.total_seconds() else None


def wrong_clock(seconds: int | None = None) -> Finding:
    """``seconds`` is how far this machine is ahead (behind, when negative), where it is known."""
    amount = "" if seconds is None else f"{abs(seconds)} s "
    ahead = seconds is None or seconds > 0
    return Finding(
        code="clock_skew",
        field="clock",
        text=Words(
            en=f"this machine's clock is {amount}{'ahead' if ahead else 'behind'}"
            if amount
            else "the channel does not accept this machine's time",
            zh=f"本机时间{'快' if ahead else '慢'}了 {amount}".rstrip()
            if amount
            else "渠道不接受本机的时间",
        ),
        remedy=Words(
            en="set the clock, and let NTP keep it (timedatectl set-ntp true)",
            zh="请校准本机时间并开启 NTP（timedatectl set-ntp true）",
        ),
    )


def not_the_gateway(field: str, status: int) -> Finding:
    """Whoever answered does not speak the channel's language."""
    return Finding(
        code="not_the_gateway",
        field=field,
        text=Words(
            en=f"what answers there (HTTP {status}) does not speak the channel's language",
            zh=f"该地址的应答（HTTP {status}）不是渠道的格式",
        ),
        remedy=Words(
            en="check the address, and whether a proxy stands in between; leave it out for the "
            "channel's own",
            zh="请检查地址以及中间是否有代理；不填则用渠道的正式地址",
        ),
    )


def trial_order(channel: Any, context: Context) -> Operation[Any]:
    """Ask for an order of one fen and close it; the outcome of asking."""
    request = PaymentRequest(
        reference=f"qd{context.nonce()[:26].lower()}",
        amount=Money(1, "CNY"),
        product=Product.QR,
        description="qiao doctor",
        notify_url="https://example.com/qiao-doctor",
        expires_at=context.now() + timedelta(minutes=10),
    )
    outcome = yield from channel.create(request, context)
    yield from channel.close(
        PaymentQuery(reference=request.reference, amount=request.amount), context
    )
    return outcome


class General:
    """For a channel that brings no diagnosis of its own."""

    def __init__(self, settings: type[Settings], open_channel: Callable[[Any], Any]) -> None:
        self._settings, self._open = settings, open_channel

    def check(self, values: Mapping[str, object], now: datetime) -> Sequence[Finding]:
        """What does not load."""
        if found := missing_fields(self._settings, values):
            return found
        try:
            self._open(self._settings.read(values))
        except InvalidSettings as error:
            return [refused(error, {})]
        return []

    def probes(
        self, values: Mapping[str, object], context: Context, *, with_order: bool
    ) -> Sequence[Probe]:
        """Ask for a payment that does not exist; an answer that can be read is well."""
        channel = self._open(self._settings.read(values))

        def ask() -> Findings:
            query = PaymentQuery(
                reference=f"qd{context.nonce()[:26].lower()}", amount=Money(1, "CNY")
            )
            yield from channel.query(query, context)
            return []

        return [Probe(field="gateway", asks=ASKS_UNKNOWN, operation=ask())]


ASKS_UNKNOWN: Final = Words(
    en="asked for an order that does not exist: the channel knows us, and we know the channel",
    zh="查询一个不存在的订单：渠道认得我们，应答的签名也正确",
)
