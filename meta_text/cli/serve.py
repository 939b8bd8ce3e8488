"""The command that serves classifiers over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from meta_text.cli.console import err_console, out_console
from meta_text.cli.engine import bound_kernels
from meta_text.cli.options import Device, path, word
from meta_text.extras import check_extra
from meta_text.wording import counted


def _limit(name: str, help: str) -> object:
    return typer.Option(name, metavar="NUMBER", min=1, help=help)


def serve(
    folder: Annotated[
        Path,
        typer.Argument(parser=path, metavar="FOLDER", help="A folder of classifiers, or one that `fit` wrote."),
    ],
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; others than loopback need META_TEXT_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    model: Annotated[
        str, typer.Option(parser=word, metavar="MODEL", help="The model that new classifiers adapt.")
    ] = "default",
    max_body: Annotated[int, _limit("--max-body", "Bytes of a request.")] = 1 << 20,
    max_texts: Annotated[int, _limit("--max-texts", "Texts of a request.")] = 1_000,
    max_characters: Annotated[int, _limit("--max-characters", "Characters of a text.")] = 10_000,
    max_classes: Annotated[int, _limit("--max-classes", "Classes of a classifier.")] = 500,
    max_classifiers: Annotated[int, _limit("--max-classifiers", "Classifiers in the folder.")] = 1_000,
    max_waiting: Annotated[int, _limit("--max-waiting", "Requests that may wait for their turn.")] = 64,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long a request may arrive, wait, and be read.")
    ] = 30.0,
    device: Device = None,
) -> None:
    """Serve classifiers over HTTP: predict, create, change, remove.

    Classifiers are kept as folders in FOLDER. /openapi.json describes the requests; docs/serve.md shows them.
    """
    check_extra("serve", "serving over HTTP")
    bound_kernels()
    from meta_text.service import server
    from meta_text.service.limits import Limits
    from meta_text.service.store import Store

    key = server.api_key(host)
    limits = Limits(
        body_bytes=max_body,
        texts=max_texts,
        characters=max_characters,
        classes=max_classes,
        classifiers=max_classifiers,
        waiting=max_waiting,
        seconds=timeout,
    )
    with server.bound(host, port) as listening:
        store = Store(folder, model, device, limits.classifiers)
        for name, reason in store.broken.items():
            err_console.print(f"{folder / name} is not served: {reason}")
        shown = f"[{host}]" if ":" in host else host
        out_console.print(
            f"serving {counted(len(store.kept), 'classifier')} of {folder} on http://{shown}:{listening.getsockname()[1]}, "
            f"{'no API key needed' if key is None else 'with an API key'}; Ctrl+C stops"
        )
        server.serve(store, limits, listening, key)
