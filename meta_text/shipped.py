"""Recipes and corpora that come with the package: inside it when installed, next to it in a checkout."""

import os
import shutil
from pathlib import Path
from typing import Literal

from meta_text.errors import ConfigError, OutputError
from meta_text.wording import did_you_mean

_PACKAGE = Path(__file__).parent


def shipped_folder(kind: Literal["recipes", "data"]) -> Path:
    """The folder of the shipped recipes or corpora."""
    installed = _PACKAGE / "_shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name."""
    return {path.stem: path for path in sorted(shipped_folder("recipes").glob("*.toml"))}


def find_recipe(name_or_path: str | Path) -> Path:
    """A recipe's file: the path itself if it is a file, else the shipped recipe of that name.

    Raises ConfigError if neither exists.
    """
    path = Path(os.path.expanduser(name_or_path))
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    what = f"{path} is a folder" if path.is_dir() else f"no recipe at {path}"
    hint = did_you_mean(path.stem, shipped) or "; `meta-text recipes list` shows the names"
    raise ConfigError(f"{what}; a TOML file or the name of a shipped recipe is needed{hint}")


def copy_recipe(name: str, target: str | Path | None = None) -> list[Path]:
    """Copy a shipped recipe, and the class split file that it names, to a file or into a folder.

    Returns the new files. Raises ConfigError for an unknown name, OutputError if a file would be overwritten.
    """
    shipped = shipped_recipes()
    if name not in shipped:
        hint = did_you_mean(name, shipped) or f"; choose from {', '.join(shipped)}"
        raise ConfigError(f"no shipped recipe '{name}'{hint}")
    source = shipped[name]
    copy = Path(os.path.expanduser(target or source.name))
    if copy.suffix != ".toml":
        copy /= source.name
    text = source.read_text("utf-8")
    splits = [path for path in sorted(source.parent.glob("*.json")) if f'"{path.name}"' in text]
    copies = {source: copy, **{path: copy.with_name(path.name) for path in splits}}
    for file in copies.values():
        if file.exists():
            raise OutputError(f"{file} already exists and is not overwritten; name another file or folder")
    copy.parent.mkdir(parents=True, exist_ok=True)
    for file, new in copies.items():
        shutil.copyfile(file, new)
    return list(copies.values())
