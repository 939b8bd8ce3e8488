"""JSON and TOML of strangers: whatever the parsers cannot read is their own error, never a RecursionError or a bare ValueError."""

import json
import tomllib
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises json.JSONDecodeError, also where it is nested too deeply or a number is too long.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:  # Python refuses integers of thousands of digits
        raise json.JSONDecodeError(_without_advice(error), "", 0) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises tomllib.TOMLDecodeError in the same cases."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        raise tomllib.TOMLDecodeError(_without_advice(error)) from None


def _without_advice(error: ValueError) -> str:
    """The first part of the message: what follows is advice to programmers."""
    return str(error).partition(";")[0]
