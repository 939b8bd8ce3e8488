"""Commands for the page in the browser: app, space."""

from pathlib import Path
from typing import Annotated

import typer

from meta_text.cli.console import out_console
from meta_text.cli.opening import fitted
from meta_text.cli.options import Classifier, path_option, word
from meta_text.extras import check_extra


def app(
    folder: Annotated[
        str | None,
        typer.Argument(parser=word, metavar="FOLDER", help="A classifier that `fit` wrote, to start with."),
    ] = None,
    port: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=65535, help="Port of the page.")] = 7860,
) -> None:
    """Teach and ask a classifier on a page in the browser.

    The page is for this machine alone, and asks nothing of any other.
    """
    check_extra("demo", "the page")
    from meta_text.app.page import LOOPBACK, check_port, serve

    check_port(LOOPBACK, port)
    if folder is not None:
        fitted(folder, None)
    serve(folder, port=port, note=out_console.print)


def space(
    folder: Classifier,
    repo_id: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its name on the Hub, such as user/my-page.")],
    out: Annotated[
        Path | None, path_option("--out", "Folder for it; default: the repository's last part.", "FOLDER")
    ] = None,
    include_support: Annotated[
        bool,
        typer.Option("--include-support", help="With the labelled texts, so that visitors can change the classes."),
    ] = False,
) -> None:
    """Write a Space for the Hub: the page with your classifier.

    Prints the command that uploads it.
    """
    from meta_text.app.space import write_space

    target = out or Path(repo_id.rpartition("/")[2])
    write_space(fitted(folder, "cpu"), repo_id, target, include_support=include_support)
    out_console.print(f"Space in {target}; publish it with `hf upload {repo_id} {target} --repo-type space`")
