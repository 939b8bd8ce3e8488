"""The recipes that come with the package: list them, copy one to change it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from meta_text.cli.console import out_console
from meta_text.cli.options import path
from meta_text.shipped import copy_recipe, shipped_recipes


def list_recipes() -> None:
    """List the shipped recipes and what they train on."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what it trains on")
    for name, recipe in shipped_recipes().items():
        table.add_row(name, summary(recipe.read_text("utf-8")))
    out_console.print(table)


def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe's name, as `recipes list` shows it.")],
    target: Annotated[
        Path | None,
        typer.Argument(
            parser=path, metavar="TARGET", help="File or folder to copy to; default: the working directory."
        ),
    ] = None,
) -> None:
    """Copy a shipped recipe, to run or change it here."""
    for new in copy_recipe(name, target):
        out_console.print(str(new))


def summary(recipe: str) -> str:
    """The first sentence of a recipe's header."""
    words: list[str] = []
    for line in recipe.splitlines():
        if not line.startswith("# "):
            break
        words += line.lstrip("# ").split()
        if words[-1].endswith("."):
            break
    return " ".join(words)
