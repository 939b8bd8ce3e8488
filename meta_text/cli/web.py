"""Commands for the page in the browser: app, space."""

from typing import Annotated

import typer

from meta_text.cli.console import out_console
from meta_text.cli.options import word
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
    from meta_text.cli.classify import fitted

    check_port(LOOPBACK, port)
    if folder is not None:
        fitted(folder, None)
    out_console.print(f"http://{LOOPBACK}:{port} (Ctrl-C ends it)")
    serve(folder, port=port)
