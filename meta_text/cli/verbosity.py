"""How much a command says: `--quiet` and `--verbose`, before its name and behind it."""

import inspect
import platform
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import meta_text
from meta_text.cli import console
from meta_text.cli.console import laps, tell
from meta_text.errors import InputError

if TYPE_CHECKING:
    from meta_text.config import Recipe
    from meta_text.model.model import MetaModel

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes: results and errors alone.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also say versions, devices, encoders, folders, and where seconds went.")
]
PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "scikit-learn", "scipy", "numpy")


class Verbosity:
    """What the command that runs was told; `set` is called by the options of `meta-text` and by those of the command."""

    def __init__(self) -> None:
        self.quiet = self.verbose = False

    def reset(self) -> None:
        console.err_console.quiet = self.quiet = self.verbose = False

    def set(self, quiet: bool, verbose: bool) -> None:
        """Raises InputError for both at once."""
        self.quiet, self.verbose = self.quiet or quiet, self.verbose or verbose
        if self.quiet and self.verbose:
            raise InputError("--quiet and --verbose were both given; leave one out")
        console.err_console.quiet = self.quiet


told = Verbosity()


def detail(line: str) -> None:
    """A note on stderr with `--verbose` alone."""
    if told.verbose:
        tell(line)


def spoken(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with the options --quiet and --verbose."""

    @wraps(command)
    def run(*, quiet: bool, verbose: bool, **options: Any) -> None:
        told.set(quiet, verbose)
        laps.begin()
        _detail_surroundings(options)
        with warnings.catch_warnings():
            warnings.showwarning = _tell_warning
            command(**options)
        detail(f"time: {laps.sentence()}")

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]
    signature = inspect.signature(command)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {**command.__annotations__, "quiet": Quiet, "verbose": Verbose}
    return run


def detail_model(model: "MetaModel", name: str) -> None:
    """What a model reads with, where that lies, and how it computes."""
    if not told.verbose:
        return
    import torch

    from meta_text.embedding.encoder_blocks import EncoderBlocks

    blocks = model.embedding
    detail(f"model {name}: {model.recipe.learner.name}, meta-trained with seed {model.recipe.train.seed}")
    if isinstance(blocks, EncoderBlocks):
        for encoder in blocks.encoders:
            folder = getattr(getattr(encoder, "embedding", None), "folder", None)
            detail(f"encoder {encoder.name}: {encoder.width} numbers per text{f', from {folder}' if folder else ''}")
    else:
        detail(
            f"embedding {blocks.model}: {blocks.width} numbers per token{f', from {blocks.folder}' if blocks.folder else ''}"
        )
    precision = f"; {model.engine_note}" if model.engine_note else ""
    detail(f"device {blocks.device}, {torch.get_num_threads()} threads{precision}")


def detail_recipe(recipe: "Recipe") -> None:
    """The seeds of a run, and where token states are cached."""
    if told.verbose:
        from meta_text.embedding.token_cache import cache_root

        detail(f"seeds: {recipe.train.seed} to train, {recipe.evaluate.seed} to test; split {recipe.corpus.split}")
        detail(f"token states are cached in {cache_root()}")


def _detail_surroundings(options: dict[str, Any]) -> None:
    if not told.verbose:
        return
    detail(f"meta_text {meta_text.__version__} in {Path(meta_text.__file__).parent}")
    detail(f"Python {platform.python_version()} in {sys.executable}; working folder {Path.cwd()}")
    detail(", ".join(f"{package} {_version(package)}" for package in PACKAGES))
    detail(f"options: {', '.join(f'{name} = {_shown(value)}' for name, value in options.items())}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Path) else repr(value)


def _tell_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning in one line, without the line of code that gave it."""
    tell(f"note: {message}" if issubclass(category, UserWarning) else f"{category.__name__}: {message}")
