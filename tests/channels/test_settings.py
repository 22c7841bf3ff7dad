"""Settings: wrong ones are refused by name, secret ones are never shown."""

import pytest

from qiao.channels.settings import Secret, Settings
from qiao.domain.errors import InvalidSettings


class Example(Settings, frozen=True):
    merchant: str
    key: Secret
    keys: dict[str, Secret]
    older: tuple[Secret, ...] = ()
    other: Secret | None = None


GOOD: dict[str, object] = {
    "merchant": "m1",
    "key": "hush",
    "keys": {"serial": "hush"},
    "older": ["hush"],
    "other": "hush",
}


def test_a_representation_shows_no_secret() -> None:
    read = Example.read(GOOD)
    assert "m1" in repr(read)
    assert "hush" not in repr(read)
    assert "hush" not in f"{read}"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"merchant": "m1", "keys": {}}, "settings.key"),
        ({**GOOD, "merchant": 5}, "settings.merchant"),
        ({**GOOD, "extra": "x"}, "settings.extra"),
        ({**GOOD, "older": "hush"}, "settings.older"),
    ],
    ids=["missing", "wrong type", "not known", "not a list"],
)
def test_wrong_settings_are_refused_by_name(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        Example.read(values)
    assert error.value.field == field
    assert "hush" not in str(error.value)
