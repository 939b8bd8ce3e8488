"""Arguments and options that several commands share, and paths with `~`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer


def path(word: str) -> Path:
    """A path with `~` expanded: the shell does not expand it in `--out=~/model`."""
    return Path(os.path.expanduser(word))


def word(word: str) -> str:
    """A word that may be a path (or a Hub name, `default`, `-`), with `~` expanded."""
    return os.path.expanduser(word)


def path_option(name: str, help: str, metavar: str = "FILE") -> Any:
    return typer.Option(name, parser=path, metavar=metavar, help=help)


Recipe = Annotated[
    str, typer.Argument(parser=word, metavar="RECIPE", help="A TOML file, or the name of a shipped recipe.")
]
Model = Annotated[
    str, typer.Argument(parser=word, metavar="MODEL", help="A folder, a Hub name such as user/model, or `default`.")
]
Classifier = Annotated[
    str, typer.Argument(parser=word, metavar="FOLDER", help="A folder that `fit` or `train` wrote, or a Hub name.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Set one key of the recipe; repeatable."),
]
JsonFile = Annotated[Path | None, path_option("--json", "Write the result to this JSON file.")]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N; default: cuda if available.")]
LabelNames = Annotated[bool, typer.Option("--label-names", help="Use the class names as a prior.")]
