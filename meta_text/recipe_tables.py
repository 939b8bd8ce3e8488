"""The tables of a recipe file as they are written, before `config` checks them: paths made absolute, overrides applied."""

import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from meta_text.errors import ConfigError
from meta_text.parsing import parse_toml

PATHS = (("corpus", "path"),)
NAMES_OR_PATHS = (("corpus", "split"), ("corpus", "also"), ("evaluate", "unseen"))


def read_tables(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The tables of a TOML file after `table.key=value` overrides, with paths that hold from any working directory.

    Paths in the file are relative to it, those in overrides to the working directory.
    Raises ConfigError if the file is not TOML, and for an override of another form.
    """
    try:
        tables = parse_toml(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    _change(tables, lambda name: str((path.parent / name).resolve()) if name[:1] != "~" else name, PATHS)
    _change(tables, lambda name: _beside(path, name), NAMES_OR_PATHS)
    for override in overrides:
        _apply(tables, override)
    _change(tables, os.path.expanduser, (*PATHS, *NAMES_OR_PATHS))
    return tables


def _change(tables: dict[str, Any], change: Callable[[str], str], keys: Sequence[tuple[str, str]]) -> None:
    """Change the strings at these keys, also in lists; `parse_recipe` checks other values."""
    for table, key in keys:
        values = tables.get(table)
        if not isinstance(values, dict):
            continue
        value = values.get(key)
        if isinstance(value, str):
            values[key] = change(value)
        elif isinstance(value, list):
            values[key] = [change(part) if isinstance(part, str) else part for part in value]


def _beside(recipe: Path, name: str) -> str:
    """A path relative to the recipe if it exists, else the name unchanged."""
    beside = recipe.parent / name
    return str(beside.resolve()) if beside.exists() else name


def _apply(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2:
        raise ConfigError(f"--set {override}: table.key=value is needed, for example train.outer_steps=50")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    table = tables
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: '{part}' is {table!r}, not a table of keys")
    if parts == ["corpus", "path"]:
        tables["corpus"].pop("name", None)
    if parts == ["corpus", "name"]:
        tables["corpus"].pop("path", None)
    table[parts[-1]] = value
