"""The command that compares this package with others on a person's own labelled texts."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import bars, out_console, tell
from meta_text.cli.labelled_file import Encoding, LabelColumn, LabelledFile, Separator, TextColumn, read_labelled
from meta_text.cli.options import Device, path_option
from meta_text.cli.tables import show_table
from meta_text.cli.verbosity import detail_model
from meta_text.wording import duration

if TYPE_CHECKING:
    from meta_text.own_data.table import Row, Table

READ_AS = (
    "Difference: from meta_text on the same draws, with its 95 % interval. Times: to learn and to answer 1,000 texts, "
    "reading included. ECE: calibration error."
)


def benchmark(
    file: LabelledFile,
    k: Annotated[
        str,
        typer.Option(
            "--k", metavar="NUMBERS", help="Labelled texts of each class to learn from, separated by commas; or all."
        ),
    ] = "5,10,all",
    text: TextColumn = "text",
    label: LabelColumn = "label",
    draws: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=2, help="Draws; each text is asked in one. More say more, and take longer."),
    ] = 10,
    texts: Annotated[
        int, typer.Option("--texts", metavar="NUMBER", min=2, help="Of a larger file, so many texts take part.")
    ] = 2000,
    minutes: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0, help="Another package that would take longer, for each of --k, is left out."
        ),
    ] = 10.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path | None, path_option("--out", "Write all rows to this file, too: .json, .csv or .md.")] = None,
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """Compare this package with others on your own labelled texts.

    All learn from the same texts and are asked the same others. SetFit and adaptive-classifier take part where they are
    installed.
    """
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.own_data.comparison import benchmark as compare
    from meta_text.own_data.draws import shots_of
    from meta_text.own_data.write import check_out, write

    shots_of(k)
    if out is not None:
        check_out(out)
    corpus = read_labelled(file, text, label, separator, encoding)
    tell(replace(corpus, name=file.name, notes=()).describe())
    ours = FewShotClassifier(device=device)
    detail_model(ours.meta_model, "default")
    with bars() as bar:
        found = compare(
            corpus.texts,
            [corpus.class_names[i] for i in corpus.labels],
            k,
            n_draws=draws,
            most_texts=texts,
            most_minutes=minutes,
            seed=seed,
            classifier=ours,
            note=tell,
            progress=lambda what, done, total: bar(what, what, done, total),
        )
    for table in found.tables:
        show_comparison(table)
    out_console.print(f"\n{READ_AS}")
    if out is not None:
        write(found, out)


def show_comparison(table: "Table") -> None:
    """A table, and the sentence that says which to take."""
    show_table(
        f"K = {table.shots}: {table.learned:,} texts of {table.classes} classes learned from, {table.asked:,} asked, "
        f"{table.draws} draws",
        "method",
        (
            "accuracy\n%" if table.metric == "accuracy" else "macro-F1\n%",
            "difference,\npoints",
            "fit",
            "1,000\ntexts",
            "ECE",
        ),
        (shown(row, table) for row in table.rows),
    )
    out_console.print(f"\n{table.sentence()}")


def shown(row: "Row", table: "Table") -> tuple[str, ...]:
    """A row's cells; the difference is from the first row."""
    gap = row.difference
    return (
        row.method,
        f"{100 * (row.accuracy if table.metric == 'accuracy' else row.f1_macro):.1f}",
        "" if gap is None else f"{100 * gap.mean:+.1f} ± {100 * gap.ci95:.1f}",
        duration(row.fit_seconds),
        duration(row.seconds_per_1000),
        f"{row.calibration_error:.3f}",
    )
