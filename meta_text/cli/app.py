"""The command line: parse, call, print. Exit code 0 done, 2 the user's mistake, 1 a fault of ours."""

import sys
from collections.abc import Callable
from typing import Any

import typer

from meta_text.cli import classify, train
from meta_text.cli.console import err_console
from meta_text.cli.recipes import recipes

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (
    train.train,
    train.evaluate,
    train.compare,
    classify.fit,
    classify.predict,
    classify.export,
    classify.push,
    train.demo,
):
    app.command()(command)
app.add_typer(recipes, name="recipes")


def main(run: Callable[[], Any] = app) -> None:
    """The `meta-text` command."""
    try:
        run()
    except SystemExit as stop:
        # who reads our output may stop early, as `head` does; the command line's library calls that a fault
        sys.exit(0 if isinstance(stop.__context__, BrokenPipeError) else stop.code)
    except (ValueError, OSError) as error:
        err_console.print(f"meta-text: {error}", markup=False, highlight=False)
        sys.exit(2)
