"""Commands that help to label texts: suggest, label."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import bars, laps, out_console, tell
from meta_text.cli.labelled_file import Encoding, LabelColumn, Separator, TextColumn, read_texts
from meta_text.cli.options import (
    Device,
    Embedding,
    Format,
    FromName,
    ToName,
    encoders_named,
    path,
    path_option,
    word,
)
from meta_text.cli.verbosity import detail_model
from meta_text.errors import InputError, OutputError
from meta_text.files import KINDS_READ, check_file
from meta_text.wording import counted

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.classify.input_rows import InputRow
    from meta_text.classify.labelling import Labelling
    from meta_text.classify.tool_imports import ToolFormat

TextFile = Annotated[Path, typer.Argument(parser=path, metavar="FILE", help=f"File of texts: {KINDS_READ}.")]
TOLD_EVERY = 10  # labels, and five times as many from there on: leave-one-out takes longer, the more there are
HELP = "Type a class's number or name; a new name makes a new class. s skips, u takes the last label back, q ends."


def suggest(
    file: TextFile,
    n: Annotated[int, typer.Option("-n", metavar="NUMBER", help="How many texts.")] = 20,
    classifier: Annotated[
        str | None,
        typer.Option(
            parser=word,
            metavar="FOLDER",
            help="A classifier that `fit` wrote; what is unlike its labelled texts comes first.",
        ),
    ] = None,
    labelled: Annotated[Path | None, path_option("--labelled", "Texts that have labels already.")] = None,
    out: Annotated[
        Path | None,
        path_option(
            "--out", "Write them to this new file: a CSV with empty labels to be filled in, or what --format names."
        ),
    ] = None,
    format: Format = None,
    from_name: FromName = None,
    to_name: ToName = None,
    embedding: Embedding = None,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """List the texts most worth labelling, the best first.

    Each has the number of its row before it. Without labels these are typical and different texts, else those that are
    least like what is labelled.
    """
    from meta_text.classify.label_file import labelled_rows, write_unlabelled
    from meta_text.classify.tool_imports import ToolFormat

    tool = ToolFormat.named(format, text, from_name, to_name)
    if n < 1:
        raise InputError(f"-n {n}; the number of texts to suggest must be at least 1")
    if classifier is not None and (labelled is not None or embedding):
        raise InputError(
            f"--classifier and {'--embedding' if labelled is None else '--labelled'} were both given; leave one out"
        )
    if tool is not None and out is None:
        raise InputError(f"--format {format} writes a file for {tool.name}; name it with --out")
    if out is not None:
        _check_new(out, tool)
    rows = read_texts(file, text, separator, encoding)
    model = _model(classifier, embedding, device)
    if labelled is not None:
        pairs = labelled_rows(labelled, (text, label), note=tell)
        model.fit([one for one, _ in pairs], [name for _, name in pairs])
    with bars() as bar:
        places = model.suggest(
            [row.text for row in rows], n, lambda done, all: bar("encode", "encoding texts", done, all)
        )
    chosen = [rows[i] for i in places]
    if not chosen:
        raise InputError(f"every text of {file} is labelled already; nothing is left to suggest")
    if len(chosen) < n:
        tell(f"{counted(len(chosen), 'text')} of {n}: the others are labelled, or copies of one another")
    if out is None:
        for row in chosen:
            typer.echo(f"{row.number}\t{' '.join((row.text or '').split())}")
        return
    if tool is not None:
        _write_for(tool, out, model, chosen)
        return
    write_unlabelled(out, [row.text or "" for row in chosen], (text, label))
    out_console.print(
        f"{counted(len(chosen), 'text')} in {out}; fill in the column {label}, then run "
        f"`{_fit_command(out, (text, label))}`"
    )


def label(
    file: TextFile,
    out: Annotated[Path, path_option("--out", "CSV that the labels are added to; name it again to go on.")],
    embedding: Embedding = None,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """Label texts in the terminal, the most useful first.

    Every answer is saved at once: stop at any time, and run the same command to go on.
    """
    from meta_text.classify.label_file import LabelFile
    from meta_text.classify.labelling import Labelling

    if out.exists() and file.exists() and out.samefile(file):
        raise OutputError(f"--out {out} is the same file as {file}; name another file")
    labels = LabelFile(out, (text, label))
    rows = read_texts(file, text, separator, encoding)
    model = _model(None, embedding, device).meta_model
    with bars() as bar:
        texts = [row.text for row in rows if row.text is not None]
        labelling = Labelling(model, texts, labels, lambda done, total: bar("encode", "encoding texts", done, total))
    before = len(labelling.labelled)
    if labelling.next() is None:
        raise InputError(f"every text of {file} has a label in {out} already; fit with it, or name other texts")
    if before:
        out_console.print(f"going on after {counted(before, 'label')} in {out}")
    out_console.print(HELP)
    try:
        _ask_all(labelling)
    except (EOFError, KeyboardInterrupt):
        out_console.print()
    _tell_end(labelling, out)


def _ask_all(labelling: "Labelling") -> None:
    """Ask until nothing is left, or `q`. Raises EOFError and KeyboardInterrupt as input does."""
    while (text := labelling.next()) is not None:
        names = labelling.classes
        out_console.print(f"\n{text}")
        if names:
            out_console.print("  ".join(f"{number} {name}" for number, name in enumerate(names, 1)), style="dim")
        said = _clean(out_console.input("label: "))
        if said == "q":
            return
        if said == "s":
            labelling.skip(text)
        elif said == "u":
            gone = labelling.undo()
            out_console.print("there is no label to take back" if gone is None else f"taken back: {gone}")
        elif (name := _named(said, names)) is None:
            out_console.print(f"there is no class {said}; to make a class of that name, type +{said}" if said else HELP)
        else:
            labelling.answer(text, name)
            out_console.print(name if name in names else f"new class: {name}")
            if _is_told(len(labelling.labelled)):
                _tell_accuracy(labelling)
    out_console.print("\nno text is left")


def _named(said: str, names: list[str]) -> str | None:
    """The class that an answer means: a name in any case, a number, or a new name; None for a number too high, or nothing."""
    if (alike := next((name for name in names if name.casefold() == said.casefold()), None)) is not None:
        return alike
    if said.isdecimal():
        return names[int(said) - 1] if 1 <= int(said) <= len(names) else None
    return said.removeprefix("+").strip() or None


def _clean(said: str) -> str:
    """An answer as UTF-8 in one line, whatever the locale."""
    return " ".join(said.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())


def _is_told(count: int) -> bool:
    return count % (TOLD_EVERY if count < 5 * TOLD_EVERY else 5 * TOLD_EVERY) == 0


def _tell_accuracy(labelling: "Labelling") -> None:
    found = labelling.audit()
    if found is not None and found.checked:
        out_console.print(
            f"{counted(len(labelling.labelled), 'label')}, {counted(len(labelling.classes), 'class', 'classes')}; "
            f"expected accuracy {100 * found.accuracy:.0f} % (95 % interval {100 * found.low:.0f} to {100 * found.high:.0f} %, "
            "leave-one-out)",
            style="bold",
        )


def _tell_end(labelling: "Labelling", out: Path) -> None:
    count, classes = len(labelling.labelled), len(labelling.classes)
    if not count:
        out_console.print("no text was labelled")
        return
    if not _is_told(count):
        _tell_accuracy(labelling)
    more = "" if classes > 1 else "; with one class alone there is nothing to tell apart yet"
    out_console.print(
        f"{counted(count, 'label')} of {counted(classes, 'class', 'classes')} in {out}{more}; "
        f"run the same command to go on, or `{_fit_command(out, labelling.file.columns)}`"
    )


def _fit_command(out: Path, columns: tuple[str, str]) -> str:
    named = zip(("text", "label"), columns, strict=True)
    options = [word for own, column in named if column != own for word in (f"--{own}", column)]
    return f"{shlex.join(['meta-text', 'fit', 'default', str(out), *options])} --out FOLDER"


def _model(name: str | None, embedding: list[str] | None, device: str | None) -> "FewShotClassifier":
    from meta_text.classify.classifier import FewShotClassifier

    if name is not None:
        classifier = FewShotClassifier.from_pretrained(name, device=device)
    else:
        classifier = FewShotClassifier(embedding=encoders_named(embedding), device=device)
    detail_model(classifier.meta_model, name or "default")
    laps.lap("loading the model")
    return classifier


def _write_for(tool: "ToolFormat", out: Path, model: "FewShotClassifier", chosen: "list[InputRow]") -> None:
    """Write the chosen texts for a tool, with predictions where anything is labelled."""
    from meta_text.classify.tool_imports import write_tasks

    texts = [row.text or "" for row in chosen]
    can_answer = model.__sklearn_is_fitted__()
    answers = [answer[1:] for answer in model.answers(texts)] if can_answer else [(None, None)] * len(texts)
    tasks = (tool.task(row.cells, text, *answer) for row, text, answer in zip(chosen, texts, answers, strict=True))
    write_tasks(out, tasks)
    what = "label that nobody has checked" if tool.kind == "doccano" else "prediction"
    how = f"each with a {what}" if can_answer else "without predictions, as no label was given"
    out_console.print(f"{counted(len(texts), 'text')} in {out}, {how}; import the file into {tool.name}")


def _check_new(out: Path, tool: "ToolFormat | None") -> None:
    check_file(out, "--out")
    if tool is not None:
        tool.check(out, "--out")
    elif out.suffix.lower() != ".csv":
        raise OutputError(f"--out {out}: texts to label are written as CSV; name a file that ends in .csv")
    if out.exists():
        raise OutputError(f"--out {out} exists already, and may hold labels; name a new file")
