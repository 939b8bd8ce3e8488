"""The commands that draw figures of what was trained and answered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.labelled_file import LabelColumn, TextColumn
from meta_text.cli.options import Device, Model, path, path_option, word
from meta_text.cli.tables import show_table
from meta_text.files import LABELLED_KINDS

if TYPE_CHECKING:
    from meta_text.figures.tasks import TracedTask

Out = Annotated[Path, path_option("--out", "The figure: .png, .svg or .pdf.")]
Report = Annotated[
    Path,
    typer.Argument(parser=path, metavar="FILE", help="JSON that evaluate or compare wrote with --json."),
]
Learner = Annotated[str | None, typer.Option("--learner", metavar="NAME", help="Only tests of this learner.")]
Shots = Annotated[int | None, typer.Option("--k-shot", metavar="NUMBER", help="Only tests with so many shots.")]
Names = Annotated[
    bool | None,
    typer.Option("--label-names/--no-label-names", help="Only tests with class names, or only those without."),
]
Texts = Annotated[
    str,
    typer.Option(
        "--corpus", parser=word, metavar="CORPUS", help=f"A known name, a folder, or a file: {LABELLED_KINDS}."
    ),
]
Way = Annotated[int, typer.Option(metavar="NUMBER", min=2, help="Classes of the task.")]
Labelled = Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Labelled texts per class.")]
Asked = Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Texts per class to classify.")]
Seed = Annotated[int, typer.Option(metavar="NUMBER", help="Seed of the draw.")]


def curves(
    runs: Annotated[
        list[Path], typer.Argument(parser=path, metavar="FOLDER", help="Folders that train wrote with --out.")
    ],
    out: Out,
) -> None:
    """Draw how training went: loss, validation accuracy and learning rates."""
    from meta_text.figures.curves import plot_curves, read_runs
    from meta_text.figures.drawing import check_figure

    check_figure(out)
    plot_curves(read_runs(runs), out)


def confusion(
    report: Report, out: Out, learner: Learner = None, k_shot: Shots = None, label_names: Names = None
) -> None:
    """Draw the confusion matrix of a test, and list what is confused most often."""
    from meta_text.figures.confusion import most_confused, plot_confusion
    from meta_text.figures.drawing import check_figure
    from meta_text.figures.reports import chosen, read_tests, the_one

    check_figure(out)
    test = the_one(chosen(read_tests(report), learner, k_shot, label_names))
    plot_confusion(test, out)
    pairs = most_confused(test.answers)
    show_table(
        f"{test.corpus}: {test.title}, most confused",
        "true class",
        ("texts answered so", "%"),
        (
            (f"{true} -> {answer}", f"{texts} of {asked}", f"{100 * texts / asked:.0f}")
            for true, answer, texts, asked in pairs
        ),
    )


def reliability(
    report: Report, out: Out, learner: Learner = None, k_shot: Shots = None, label_names: Names = None
) -> None:
    """Draw whether stated probabilities are kept: one panel per test."""
    from meta_text.figures.drawing import check_figure
    from meta_text.figures.reliability import plot_reliability
    from meta_text.figures.reports import chosen, read_tests

    check_figure(out)
    plot_reliability(chosen(read_tests(report), learner, k_shot, label_names), out)


def steps(
    model: Model,
    corpus: Texts,
    out: Out,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    n_way: Way = 5,
    k_shot: Labelled = 5,
    n_query: Asked = 15,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Draw what the meta-learner does on a task: losses, gates and step sizes."""
    from meta_text.figures.drawing import check_figure
    from meta_text.figures.steps import plot_steps

    check_figure(out)
    plot_steps(_traced(model, corpus, text, label, (n_way, k_shot, n_query), seed, device), out)


def task_map(
    model: Model,
    corpus: Texts,
    out: Out,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    n_way: Way = 5,
    k_shot: Labelled = 5,
    n_query: Asked = 15,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Draw a map of a task before and after the meta-learner's steps."""
    from meta_text.figures.drawing import check_figure
    from meta_text.figures.task_map import plot_map

    check_figure(out)
    plot_map(_traced(model, corpus, text, label, (n_way, k_shot, n_query), seed, device), out)


def _traced(
    model: str, corpus: str, text: str, label: str, shape: tuple[int, int, int], seed: int, device: str | None
) -> "TracedTask":
    from meta_text.config import EpisodeShape
    from meta_text.corpus.corpus import Corpus
    from meta_text.figures.tasks import traced
    from meta_text.saving.loading import shared_model

    return traced(shared_model(model, device), Corpus.open(corpus, text=text, label=label), EpisodeShape(*shape), seed)
