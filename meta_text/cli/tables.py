"""Result tables that fit 80 columns: what all rows share is in the title, not in a column."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from meta_text.cli.console import out_console

if TYPE_CHECKING:
    from meta_text.model.results import Result
    from meta_text.training.reports import Difference


def show_table(title: str, head: str, figures: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Words in the first column, wrapped on a narrow terminal; figures to the right, never cut."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(head, overflow="fold")
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out_console.print()
    out_console.print(table)


def show_results(title: str, results: "Sequence[Result]") -> None:
    """One row per test; one table per corpus, number of classes, and use of class names."""

    def shared(result: "Result") -> tuple[str, int, bool]:
        return result.corpus or "", result.n_way, result.label_names

    for (corpus, n_way, named), group in groupby(sorted(results, key=shared), shared):
        place = f"{corpus}, never trained on, " if corpus else f"{title}, "
        show_table(
            f"{place}{n_way}-way{', class names shown' if named else ''}",
            "learner",
            ("shots", "accuracy %", "macro-F1 %", "ECE", "ms per\nepisode"),
            (
                (
                    result.learner,
                    str(result.k_shot),
                    result.accuracy.percent(),
                    result.f1_macro.percent(),
                    f"{result.ece:.3f}",
                    f"{result.milliseconds_per_episode:.1f}",
                )
                for result in group
            ),
        )


def show_differences(differences: "Sequence[Difference]") -> None:
    """Paired differences in points; one table per corpus and learner that others are compared with."""

    def shared(row: "Difference") -> tuple[str, str, bool]:
        return row.corpus or "", row.against, row.label_names

    for (corpus, against, named), group in groupby(sorted(differences, key=lambda row: row.label_names), shared):
        show_table(
            f"{f'{corpus}, d' if corpus else 'D'}ifference from {against}{', class names shown' if named else ''}",
            "learner",
            ("shots", "accuracy, points", "macro-F1, points"),
            ((row.learner, str(row.k_shot), row.accuracy.points(), row.f1_macro.points()) for row in group),
        )
