"""The recipes that come with the package: list them, copy one to change it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from meta_text.cli.console import out_console
from meta_text.shipped import copy_recipe, shipped_recipes

recipes = typer.Typer(no_args_is_help=True, help="List the recipes that come with the package, or copy one.")


@recipes.command("list")
def list_recipes() -> None:
    """Name every shipped recipe and say what it trains on."""
    table = Table("name", "what it trains on", box=None, pad_edge=False)
    for name, path in shipped_recipes().items():
        table.add_row(name, summary(path.read_text("utf-8")))
    out_console.print(table)


@recipes.command()
def copy(
    name: Annotated[str, typer.Argument(help="A recipe's name, as `recipes list` shows it.")],
    target: Annotated[
        Path | None, typer.Argument(help="File or folder to copy to; default: the working folder.")
    ] = None,
) -> None:
    """Copy a shipped recipe, to run or change it here."""
    for path in copy_recipe(name, target):
        out_console.print(str(path), markup=False, highlight=False)


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
