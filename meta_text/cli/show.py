"""The commands that draw figures of what was trained and answered."""

from pathlib import Path
from typing import Annotated

import typer

from meta_text.cli.options import path, path_option
from meta_text.cli.tables import show_table

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
