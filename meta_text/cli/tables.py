"""Result tables that fit 80 columns: what all rows share is in the title, not in a column."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table

from meta_text.cli.console import out_console
from meta_text.wording import duration

if TYPE_CHECKING:
    from meta_text.model.results import Result
    from meta_text.training.reports import Difference

LEAST_WORDS = 12  # columns for the words of a row, on a terminal however narrow


def show_table(title: str, head: str, figures: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Words in the first column, wrapped on a narrow terminal; figures to the right, never cut.

    A terminal too narrow for the figures breaks the lines, for a figure that lacks its end would be a wrong one.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    cells = list(rows)
    table.add_column(head, overflow="fold", min_width=LEAST_WORDS)
    widths = [
        max(cell_len(line) for cell in (figure, *(row[place] for row in cells)) for line in cell.split("\n"))
        for place, figure in enumerate(figures, 1)
    ]
    for figure, width in zip(figures, widths, strict=True):
        table.add_column(figure, justify="right", min_width=width)
    for row in cells:
        table.add_row(*row)
    out_console.print()
    narrowest = LEAST_WORDS + sum(widths) + 2 * len(widths) + 1
    out_console.print(table, width=max(out_console.width, narrowest), crop=False)


def show_results(title: str, results: "Sequence[Result]") -> None:
    """One row per test; one table per corpus, number of classes, and use of class names."""

    def shared(result: "Result") -> tuple[str, int, bool]:
        return result.corpus or "", result.n_way, result.label_names

    for (corpus, n_way, named), group in groupby(sorted(results, key=shared), shared):
        place = f"{corpus}, never trained on, " if corpus else f"{title}, "
        show_table(
            f"{place}{n_way}-way{', class names shown' if named else ''}",
            "learner",
            ("shots", "accuracy %", "macro-F1 %", "ECE", "time per\nepisode"),
            (
                (
                    result.learner,
                    str(result.k_shot),
                    result.accuracy.percent(),
                    result.f1_macro.percent(),
                    f"{result.ece:.3f}",
                    duration(result.milliseconds_per_episode / 1000),
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
