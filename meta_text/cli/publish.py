"""Commands that take a classifier elsewhere: export, push."""

from pathlib import Path
from typing import Annotated

import typer

from meta_text.cli.console import out_console, working
from meta_text.cli.opening import fitted
from meta_text.cli.options import Classifier, path_option
from meta_text.extras import check_extra


def export(
    folder: Classifier,
    out: Annotated[Path, path_option("--out", "The file to write.", "FILE.onnx")],
    int8: Annotated[
        bool, typer.Option("--int8", help="In eight bits: a quarter of the size, answers a little different.")
    ] = False,
    tokenizer: Annotated[
        bool, typer.Option("--tokenizer", help="Texts in, for ONNX Runtime with its extensions.")
    ] = False,
) -> None:
    """Write a classifier as one ONNX file.

    Token ids in (and counts of n-grams, where it weighs these), probabilities out; tokenizers and labels are in its
    metadata. docs/onnx.md has a program that reads it.
    """
    check_extra("onnx", "exporting to ONNX")
    classifier = fitted(folder, "cpu")
    with working("exporting"):
        classifier.export_onnx(out, int8=int8, tokenizer=tokenizer)
    out_console.print(f"{out}, {out.stat().st_size / 1e6:.1f} MB")


def push(
    folder: Classifier,
    repo_id: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Its name on the Hub, such as user/model.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    embed: Annotated[bool, typer.Option("--embed", help="Publish the embedding's weights too.")] = False,
    include_support: Annotated[
        bool, typer.Option("--include-support", help="Publish the labelled texts too; they may be private.")
    ] = False,
    branch: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Publish on this branch; it is created if needed.")
    ] = None,
) -> None:
    """Publish a model or classifier on the Hugging Face Hub. All files go into one commit."""
    from meta_text.classify.classifier import FewShotClassifier

    classifier = FewShotClassifier.from_pretrained(folder)
    with working("publishing"):
        address = classifier.push_to_hub(
            repo_id, private=private or None, embed=embed, include_support=include_support, branch=branch
        )
    out_console.print(address)
