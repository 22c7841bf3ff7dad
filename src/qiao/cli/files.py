"""Files that commands are given: an account's settings."""

import json
import tomllib
from pathlib import Path
from typing import Any

from qiao.domain.errors import InvalidInput


def read_settings_file(path: Path) -> dict[str, Any]:
    """An account's settings: JSON when the file's name ends so, otherwise TOML.

    Raises InvalidInput; its text never holds a piece of the file, which is full of secrets.
    """
    is_json = path.suffix == ".json"
    try:
        text = path.read_text("utf-8")
        found = json.loads(text) if is_json else tomllib.loads(text)
    except OSError as error:
        raise InvalidInput(
            f"cannot be read: {error.strerror}", field=str(path), remedy="name a file"
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"{error.msg} (at line {error.lineno}, column {error.colno})",
            field=str(path),
            remedy="give one JSON object",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8",
            field=str(path),
            remedy='write lines such as: app_id = "2021…" (or JSON, in a file named .json)',
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput("no JSON object", field=str(path), remedy="give one JSON object")
    return found
