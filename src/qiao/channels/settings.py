"""What a channel needs to know of one account: typed, checked by name, and silent about secrets."""

import re
from collections.abc import Mapping
from typing import Annotated, Self

import msgspec

from qiao.domain.errors import InvalidSettings

Secret = Annotated[str, msgspec.Meta(extra={"secret": True})]
"""A setting that no representation of the settings shows."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every channel's settings."""

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Self:
        """Settings from plain values, such as JSON's or TOML's. Raises InvalidSettings."""
        try:
            return msgspec.convert(dict(values), cls)
        except msgspec.ValidationError as error:
            text = str(error)
            path = re.search(r"`\$\.?([^`]*)`$", text)
            missing = re.search(r"(?:required|unknown) field `([^`]+)`", text)
            field = missing[1] if missing else path[1] if path else ""
            raise InvalidSettings(
                text.partition(" - at ")[0],
                field=f"settings.{field}" if field else "settings",
                remedy=f"see what {cls.__name__} takes in the channel's page",
            ) from None

    @classmethod
    def secrets(cls) -> frozenset[str]:
        """The names of the settings that nobody is shown."""
        fields = msgspec.inspect.type_info(cls).fields  # type: ignore[attr-defined]
        return frozenset(info.name for info in fields if _is_secret(info.type))

    def __repr__(self) -> str:
        hidden = self.secrets()
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
            if name not in hidden
        )
        return f"{type(self).__name__}({shown})"


def _is_secret(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return bool((kind.extra or {}).get("secret")) or _is_secret(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_is_secret(member) for member in kind.types)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return _is_secret(kind.item_type)
    if isinstance(kind, msgspec.inspect.DictType):
        return _is_secret(kind.value_type)
    return False
