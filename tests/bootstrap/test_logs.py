"""No secret comes out of the logs, wherever in a message, an error or the context it stands."""

import io
import json
import logging
import string
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qiao.bootstrap.logs import configure_logs
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.engine.webhooks import new_secret
from qiao.telemetry import tracing
from qiao.telemetry.redaction import redact, redact_text


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is written; everything is as before afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    stream = io.StringIO()
    configure_logs("debug", stream=stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.configure(**before[2])


def with_check_digit(body: str) -> str:
    """The body and the digit that satisfies ISO/IEC 7812-1, reckoned another way than the code."""
    table = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    total = sum(table[int(d)] if i % 2 == 0 else int(d) for i, d in enumerate(body[::-1]))
    return body + str(-total % 10)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


cards = st.integers(11, 18).flatmap(
    lambda n: st.tuples(st.sampled_from("3456"), digits(n - 1))
).map(lambda parts: with_check_digit("".join(parts)))  # fmt: skip
grouped_cards = st.tuples(cards, st.sampled_from(" -")).map(
    lambda pair: pair[1].join(pair[0][i : i + 4] for i in range(0, len(pair[0]), 4))
)
token = st.text(string.ascii_letters + string.digits, min_size=24, max_size=48)
base64_text = st.text(string.ascii_letters + string.digits + "+/", min_size=64, max_size=200)
secrets_by_look = st.one_of(
    cards,
    grouped_cards,
    token.map("sk_live_{}".format),
    token.map("sk_test_{}".format),
    st.builds(new_secret),
    token.map("Bearer {}".format),
    base64_text.map("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----".format),
    base64_text.map("-----BEGIN RSA PRIVATE KEY-----\n{}".format),  # cut short
    base64_text.map("MIIE{}".format),
    token.map("postgresql://qiao:{}@db/qiao".format),
    digits(9).map("13{}".format),
    digits(9).map("+86 13{}".format),
    digits(16).map("13{}".format),
    digits(16).map("28{}".format),
    digits(12).map("2088{}".format),
    st.text(string.ascii_letters + string.digits, min_size=27, max_size=27).map("o{}".format),
    st.text(string.ascii_lowercase, min_size=8, max_size=12).map("{}@example.com".format),
)
names = st.text("赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨", min_size=2, max_size=4)
secret_fields = st.sampled_from(
    ["payer", "name", "payer_name", "Authorization", "X-Api-Key", "auth_code", "phone", "api_key",
     "private_key", "webhook_secret", "merchantName".lower() + "_name", "openid", "password"]
)  # fmt: skip
around = st.sampled_from(["", "the card ", "got: ", "(", '"', "x=", "支付", "2026-11-25 ", "id 7 "])

Write = Callable[[str], None]


def message(secret: str) -> None:
    structlog.get_logger().error(f"it failed: {secret}!")


def value(secret: str) -> None:
    structlog.get_logger().warning("failed", reason=secret, nested={"deep": [{"in": (secret,)}]})


def key(secret: str) -> None:
    structlog.get_logger().warning("failed", **{secret: 1})


def context(secret: str) -> None:
    with structlog.contextvars.bound_contextvars(order_id=secret):
        structlog.get_logger().info("something")


def an_error(secret: str) -> None:
    holds = secret
    try:
        try:
            raise KeyError(holds)
        except KeyError as error:
            error.add_note(holds)
            raise ExceptionGroup(holds, [ValueError(holds)]) from error
    except ExceptionGroup:
        structlog.get_logger().exception("failed")


def own_error(secret: str) -> None:
    try:
        raise InvalidInput(f"not this: {secret}", field="x", remedy=f"not {secret}")
    except InvalidInput as error:
        structlog.get_logger().error("failed", exc_info=error, error=error)


def library(secret: str) -> None:
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request: %s", secret)


def library_error(secret: str) -> None:
    try:
        raise OSError(secret)
    except OSError:
        logging.getLogger("aiohttp").exception("failed %r", {"value": secret})


def an_object(secret: str) -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"Holder({secret})"

    structlog.get_logger().warning("failed", thing=Holder(), raw=secret.encode())


EVERYWHERE: list[Write] = [
    message, value, key, context, an_error, own_error, library, library_error, an_object,
]  # fmt: skip


@pytest.mark.parametrize("write", EVERYWHERE, ids=lambda write: write.__name__)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(secret=secrets_by_look, before=around)
@example(secret="4111 1111 1111 1111", before="2026-11-25 ")
@example(secret="4111111111111111", before="")
def test_what_looks_like_a_secret_never_comes_out(
    written: io.StringIO, write: Write, secret: str, before: str
) -> None:
    written.seek(0)
    written.truncate()
    write(before + secret)
    logged = json.loads(written.getvalue())
    text = json.dumps(logged, ensure_ascii=False)
    for part in told_by(secret):
        assert part not in text, text
    assert logged["level"]


def told_by(secret: str) -> list[str]:
    """What of a planted secret must not be read anywhere: its telling part."""
    for start in ("Bearer ", "postgresql://qiao:", "-----BEGIN PRIVATE KEY-----\n"):
        if secret.startswith(start):
            return [secret.removeprefix(start).partition("@")[0].partition("\n-----END")[0]]
    if secret.startswith("-----BEGIN RSA"):
        return [secret.partition("\n")[2]]
    return [secret]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.one_of(names, secrets_by_look, token), field=secret_fields)
def test_what_stands_in_a_secret_field_never_comes_out(
    written: io.StringIO, secret: str, field: str
) -> None:
    written.seek(0)
    written.truncate()
    log = structlog.get_logger()
    log.warning("failed", **{field: secret}, body_of={"headers": [{field.upper(): secret}]})
    for text in (f"asked with {field}={secret}", f"asked with {{'{field}': '{secret}'}}"):
        log.warning(text)
    assert secret not in written.getvalue()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_an_error_that_is_not_ours_tells_its_place_and_class(
    written: io.StringIO, name: str
) -> None:
    written.seek(0)
    written.truncate()
    an_error(name)
    library_error(name)
    [text, other] = [json.loads(line)["exception"] for line in written.getvalue().splitlines()]
    assert "ExceptionGroup" in text
    assert "KeyError" in text
    assert "in an_error" in text
    assert name not in text
    assert other.endswith("OSError")


@pytest.mark.parametrize(
    "harmless",
    [
        "payment pay_01k3m8h9x2e4v6w8y0a2c4e6g8 is paid",
        "1250 of 8800 fen refunded, in 3 tries",
        "2026-11-25T19:28:20.123456Z",
        "trade 2026112522001400001000000001 of Alipay",
        "transaction 4200001234202611251234567890 of WeChat Pay",
        "listening on 127.0.0.1:8080",
        "4111111111111112",  # no card: its check digit is wrong
        "one-attempt-at-a-time-is-what-we-want",
    ],
)
def test_what_is_harmless_stays(harmless: str) -> None:
    assert redact_text(harmless) == harmless


def test_a_level_holds_for_libraries_too(written: io.StringIO) -> None:
    configure_logs("warning", stream=written)
    structlog.get_logger().info("not written")
    logging.getLogger("uvicorn").info("not written either")
    logging.getLogger("uvicorn").warning("written")
    [line] = written.getvalue().splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["logger"]) == ("written", "warning", "uvicorn")


def test_the_ids_of_a_trace_are_whole(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = ("4111111111111111ab4111111111111111"[:32], "4111111111111111")
    monkeypatch.setattr(tracing, "ids", lambda: trace)
    structlog.get_logger().info("traced")
    logging.getLogger("uvicorn").warning("traced too")
    for line in written.getvalue().splitlines():
        told = json.loads(line)
        assert (told["trace_id"], told["span_id"]) == trace


@given(number=st.integers())
def test_a_number_is_logged_as_its_digits_would_be(number: int) -> None:
    assert str(redact(number)) == redact_text(str(number))


def test_a_sealing_key_in_its_field() -> None:
    assert Seal.new_key() not in redact_text(f"seal_key={Seal.new_key()}")
