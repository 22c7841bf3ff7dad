"""Whatever stands in the settings, the checks say something and raise nothing."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiao.channels import alipay, wechat
from qiao.channels.interface import ChannelType
from qiao.simulators import alipay as simulated_alipay
from qiao.simulators import wechat as simulated_wechat

URL = "http://127.0.0.1:1"
ALIPAY, WECHAT = simulated_alipay.new_credentials(), simulated_wechat.new_credentials()
GOOD = [
    (kind.channel_type, known.settings(name, base_url=URL))
    for kind, known in ((alipay, ALIPAY), (wechat, WECHAT))
    for name in ("ordinary", "certificate")
]
PEM = st.tuples(
    st.sampled_from(["PRIVATE KEY", "RSA PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE"]),
    st.text(max_size=80),
).map(lambda parts: f"-----BEGIN {parts[0]}-----\n{parts[1]}\n-----END {parts[0]}-----")
TEXTS = st.text(max_size=80) | PEM
VALUES = TEXTS | st.none() | st.integers() | st.dictionaries(TEXTS, TEXTS, max_size=3)


@pytest.mark.parametrize(("kind", "good"), GOOD)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_raised(kind: ChannelType, good: dict[str, object], data: st.DataObject) -> None:
    spoilt = data.draw(st.dictionaries(st.sampled_from(sorted(good)), VALUES, max_size=3))
    assert kind.diagnosis is not None
    values = {**good, **spoilt}
    found = kind.diagnosis.check(values, datetime.now(UTC))
    if not found:
        kind.open(kind.settings.read(values))
