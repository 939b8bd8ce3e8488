"""Arguments and options that several commands share, and paths with `~`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from meta_text.errors import InputError


def path(word: str) -> Path:
    """A path with `~` expanded: the shell does not expand it in `--out=~/model`."""
    return Path(os.path.expanduser(word))


def word(word: str) -> str:
    """A word that may be a path (or a Hub name, `default`, `-`), with `~` expanded."""
    return os.path.expanduser(word)


def encoders_named(embedding: list[str] | None) -> str | tuple[str, ...] | None:
    """What `--embedding` names, for FewShotClassifier. Raises InputError for ready vectors, which no file holds."""
    if embedding and "vectors" in embedding:
        raise InputError(
            "--embedding vectors, but commands read files of texts; name an encoder, or pass vectors in Python: "
            "FewShotClassifier(embedding='vectors')"
        )
    return embedding[0] if embedding and len(embedding) == 1 else tuple(embedding or ()) or None


def with_encoders(sets: list[str] | None, embedding: list[str] | None) -> list[str]:
    """The recipe's keys to set, with those of `--embedding` in front."""
    named = encoders_named(embedding)
    if named is None:
        return sets or []
    from meta_text.embedding.encoders import MIXTURES

    names = MIXTURES.get(named, (named,)) if isinstance(named, str) else named
    listed = json.dumps(names, ensure_ascii=False)  # also a list in TOML
    return ['embedding.kind="encoders"', f"embedding.encoders={listed}", *(sets or [])]


def path_option(name: str, help: str, metavar: str = "FILE") -> Any:
    return typer.Option(name, parser=path, metavar=metavar, help=help)


Recipe = Annotated[
    str, typer.Argument(parser=word, metavar="RECIPE", help="A TOML file, or the name of a shipped recipe.")
]
Model = Annotated[
    str, typer.Argument(parser=word, metavar="MODEL", help="A folder, a Hub name such as user/model, or `default`.")
]
Classifier = Annotated[
    str, typer.Argument(parser=word, metavar="FOLDER", help="A folder that `fit` wrote, or a Hub name.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Set one key of the recipe; repeatable."),
]
JsonFile = Annotated[Path | None, path_option("--json", "Write the result to this JSON file.")]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N; default: cuda if available.")]
Embedding = Annotated[
    list[str] | None,
    typer.Option(
        "--embedding",
        parser=word,
        metavar="NAME",
        help="Encoder that reads the texts: auto, fast, minilm, e5, lexical, a Hub name or a folder; repeatable, every task "
        "then weighs them. Default: as the model or recipe says.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="TOOL",
        help="Write a file for label-studio, doccano or argilla to import, with predictions; default: a plain table.",
    ),
]
FromName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Choices tag (Label Studio) or question (Argilla) to answer; default: label."),
]
ToName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Text tag (Label Studio) or field (Argilla); default: text.")
]
LabelNames = Annotated[bool, typer.Option("--label-names", help="Use the class names as a prior.")]
Hierarchy = Annotated[
    str | None,
    typer.Option(
        metavar="SEPARATOR",
        help="What divides labels such as billing/refund into groups, here /: the answer is the deepest that is sure.",
    ),
]
