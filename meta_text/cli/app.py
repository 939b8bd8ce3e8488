"""The command line: parse, call, print. Exit codes: 0 success, 2 user error, 1 internal error."""

import codecs
import io
import re
import sys
from typing import Annotated, Any, NoReturn

import typer
import typer.core

import meta_text
from meta_text.cli import benchmark, classify, demo, label, publish, recipes, show, train
from meta_text.cli.console import err_console


class Command(typer.core.TyperCommand):
    """A command whose help names an argument by its metavar alone; typer puts the Python type behind it."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            name, text = parameter.get_help_record(ctx) or ("", "")
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            rows[kind] += [(re.sub(r" <.*>$", "", name), text)] if name else []
        for heading, listed in rows.items():
            if listed:
                with formatter.section(heading):
                    formatter.write_dl(listed)


# no rich markup: it would drop words in brackets, such as [compare], from the help
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for command in (
    classify.fit,
    classify.distill,
    classify.predict,
    publish.export,
    publish.push,
    benchmark.benchmark,
    label.suggest,
    label.label,
    train.train,
    train.evaluate,
    train.compare,
    demo.demo,
):
    app.command(cls=Command)(command)
recipe_commands = typer.Typer(rich_markup_mode=None, help="List the recipes that come with the package, or copy one.")
recipe_commands.command("list", cls=Command)(recipes.list_recipes)
recipe_commands.command("copy", cls=Command)(recipes.copy)
app.add_typer(recipe_commands, name="recipes")
show_commands = typer.Typer(rich_markup_mode=None, help="Draw a figure of a training run, a test or a task.")
for draw in (show.curves, show.confusion, show.reliability, show.steps, show.task_map):
    show_commands.command("map" if draw is show.task_map else None, cls=Command)(draw)
app.add_typer(show_commands, name="show")


def show_version(asked: bool) -> bool:
    if asked:
        typer.echo(meta_text.__version__)
        raise typer.Exit
    return asked


@app.callback()
def meta_text_command(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Few-shot text classification that learns how to learn."""


def main() -> None:
    """The `meta-text` command."""
    _write_utf8()
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="meta-text"))
    except SystemExit as stop:
        # the reader of our output may stop early, as `head` does; typer treats that as a failure
        sys.exit(0 if isinstance(stop.__context__, BrokenPipeError) else stop.code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "meta-text"
        message = error.format_message().rstrip(".")
        _refuse(f"{message}{' See' if message.endswith('?') else '; see'} `{command} --help`")
    except ValueError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))


def _write_utf8() -> None:
    """Output is UTF-8 in any locale, and every text can be written."""
    codecs.register_error("meta_text", _keep_or_escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="meta_text")


def _keep_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write undecodable bytes of arguments and file names unchanged, and lone surrogates as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _refuse(message: str) -> NoReturn:
    err_console.print(f"meta-text: {message}")
    sys.exit(2)
