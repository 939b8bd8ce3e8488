"""Commands that use a model: fit, distill, predict."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import Bar, bars, err_console, out_console
from meta_text.cli.labelled_file import (
    Encoding,
    LabelColumn,
    LabelledFile,
    LabelsSeparator,
    Separator,
    TextColumn,
    read_labelled,
    read_texts,
    tell,
)
from meta_text.cli.options import (
    Classifier,
    Device,
    Embedding,
    Format,
    FromName,
    LabelNames,
    Model,
    ToName,
    encoders_named,
    path,
    path_option,
    word,
)
from meta_text.cli.several_labels import fit_several, lines_of, opened_several, refuse_options
from meta_text.errors import InputError
from meta_text.files import KINDS_READ
from meta_text.wording import counted

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.embedding.reading import Progress

# torch keeps up to 1,024 kernels, one per batch shape, in each of two caches: a gigabyte over a long file
BOUNDED_KERNELS = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}


def _reading_then_moving(bar: Bar) -> "Progress":
    """Bars for `FewShotClassifier.fit`, whose progress starts anew when an encoder is moved."""
    all_read = False

    def progress(done: int, total: int) -> None:
        nonlocal all_read
        key, text = ("move", "moving an encoder") if all_read else ("encode", "encoding texts")
        bar(key, text, done, total)
        all_read = all_read or done == total

    return progress


def fit(
    model: Model,
    support_file: LabelledFile,
    out: Annotated[Path, path_option("--out", "Folder for the classifier.", "FOLDER")],
    embedding: Embedding = None,
    label_names: LabelNames = False,
    text: TextColumn = "text",
    label: LabelColumn = "label",
    without_texts: Annotated[
        bool,
        typer.Option("--without-texts", help="Do not keep the labelled texts: the classifier cannot be changed later."),
    ] = False,
    class_prior: Annotated[
        str,
        typer.Option(
            metavar="PRIOR", help="balanced; or support or unlabeled, to expect classes as often as among such texts."
        ),
    ] = "balanced",
    effort: Annotated[
        str,
        typer.Option(
            metavar="EFFORT", help="normal; or high, which also moves an encoder where that helps, in a minute."
        ),
    ] = "normal",
    unlabeled: Annotated[
        str | None,
        typer.Option(
            parser=word,
            metavar="FILE",
            help="Texts without labels, such as will be asked: they show where classes lie.",
        ),
    ] = None,
    labels_separator: LabelsSeparator = None,
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """Learn categories from a file of labelled texts."""
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.files import check_target
    from meta_text.model.encoder_words import effort_sentence, encoder_choice
    from meta_text.model.moved_adaptation import check_effort
    from meta_text.model.unlabelled import Gathered

    check_effort(effort)
    check_target(out)
    encoders = encoders_named(embedding)
    if labels_separator is not None:
        given = {
            "--class-prior": class_prior != "balanced",
            "--effort": effort != "normal",
            "--unlabeled": bool(unlabeled),
        }
        refuse_options(given)
        fit_several(
            model,
            support_file,
            out,
            labels_separator,
            (text, label),
            (separator, encoding),
            keeps_texts=not without_texts,
            embedding=encoders,
            label_names=label_names,
            device=device,
        )
        return
    corpus = read_labelled(support_file, text, label, separator, encoding)
    if encoders is None:
        classifier = FewShotClassifier.from_pretrained(model, device=device, label_names=label_names)
    else:  # classes that the model may hold were learned with others
        classifier = FewShotClassifier(model, embedding=encoders, device=device, label_names=label_names)
    labels = [corpus.class_names[i] for i in corpus.labels]
    more = None if unlabeled is None else [row.text for row in read_texts(unlabeled, text, separator, encoding)]
    classifier.class_prior = class_prior
    with bars() as bar, warnings.catch_warnings():
        # a note of the corpus, told above
        warnings.filterwarnings("ignore", "labels .* (differ only in case|look alike)")
        classifier.fit(corpus.texts, labels, progress=_reading_then_moving(bar), effort=effort, unlabeled=more)
    if note_of_engine := classifier.meta_model.engine_note:
        err_console.print(note_of_engine, style="dim", highlight=False, markup=False)
    classifier.save_pretrained(out, include_support=not without_texts)
    told = replace(corpus, name=support_file.name, notes=())
    out_console.print(f"{told.describe()}; classifier in {out}")
    if len(corpus.texts) <= 1000:
        audit = classifier.audit()
        out_console.print(audit.summary())
        for doubt in audit.doubts[:5]:
            out_console.print(str(doubt))
    elif (choice := encoder_choice(classifier.adaptation_)) is not None:
        out_console.print(f"read by {choice.sentence()}")
        for sentence in (Gathered.of(classifier.adaptation_.task).sentence(), effort_sentence(classifier.adaptation_)):
            if sentence:
                out_console.print(sentence)


def distill(
    folder: Classifier,
    file: Annotated[Path, typer.Argument(parser=path, metavar="FILE", help=f"File of texts: {KINDS_READ}.")],
    out: Annotated[Path, path_option("--out", "Folder for the student.", "FOLDER")],
    text: TextColumn = "text",
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """Teach a classifier's answers to its cheapest encoder.

    Texts without labels are needed. Prints how often this student answers as its teacher does. Labelled texts that the teacher has kept are kept.
    """
    from meta_text.files import check_target

    check_target(out)
    texts = [row.text for row in read_texts(file, text, separator, encoding)]
    teacher = fitted(folder, device)
    with bars() as bar:
        student = teacher.distill(texts, lambda done, total: bar("encode", "asking the teacher", done, total))
    student.save_pretrained(out, include_support=True)
    out_console.print(f"{student.audit().summary()}\nstudent in {out}")


def predict(
    folder: Classifier,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts to classify.")] = None,
    input_file: Annotated[
        str | None,
        typer.Option("--input", parser=word, metavar="FILE", help=f"{KINDS_READ}; - reads standard input."),
    ] = None,
    output_file: Annotated[
        str,
        typer.Option(
            "--output", parser=word, metavar="FILE", help="A .csv, .json, .jsonl or .parquet file; - writes JSON lines."
        ),
    ] = "-",
    text: TextColumn = "text",
    reject: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Give texts that look like no class no label (null in a file). RATE is the share of texts that do belong "
            "to a class and lose theirs by mistake, such as 0.05.",
        ),
    ] = None,
    errors: Annotated[
        Path | None, path_option("--errors", "Write the rows without a readable text to this file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same command.")] = False,
    format: Format = None,
    from_name: FromName = None,
    to_name: ToName = None,
    labels_separator: Annotated[
        str, typer.Option(metavar="MARK", help="What to write between labels, if a text may have several.")
    ] = "|",
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
) -> None:
    """Classify texts with a classifier that `fit` made. Answers come in order, one per row."""
    texts = [as_utf8(text) for text in texts or ()]
    for name, value in BOUNDED_KERNELS.items():  # read when torch first computes
        os.environ.setdefault(name, value)
    from meta_text.classify.input_rows import InputRow, count_rows
    from meta_text.classify.predict_file import check_outputs, predict_file
    from meta_text.classify.tool_imports import ToolFormat

    tool = ToolFormat.named(format, text, from_name, to_name)
    if texts and input_file is not None:
        raise InputError("TEXT arguments and --input were both given; leave one out")
    if not texts and input_file is None:
        raise InputError("nothing to classify; give TEXT arguments, or --input FILE")
    if texts and resume:
        raise InputError("TEXT arguments leave nothing to resume; --resume goes with --input and --output")
    if texts and tool is not None:
        raise InputError("TEXT arguments are answered in the terminal; --format goes with --input and --output")
    if input_file is not None:
        check_outputs(
            input_file, output_file, errors, resume=resume, tool=tool
        )  # before the model is loaded, not after
    several = opened_several(folder, device)
    classifier = fitted(folder, device) if several is None else several
    note_of_engine = classifier.meta_model.engine_note
    if note_of_engine:
        err_console.print(note_of_engine, style="dim", highlight=False, markup=False)
    if texts:
        if blank := [text for text in texts if not text.strip()]:
            raise InputError(f"TEXT {blank[0]!r} is blank; write a text in its place, or leave it out")
        for line in lines_of(classifier, texts, reject):
            typer.echo(line)  # rich would expand the tabs
        return
    unread, answered = list[InputRow](), 0

    def note(row: InputRow) -> None:
        if len(unread) < 5:
            unread.append(row)

    how = {"separator": separator, "encoding": encoding}
    total = count_rows(input_file or "-", text, **how) if err_console.is_terminal else None
    with bars() as bar:

        def show(done: int) -> None:
            nonlocal answered
            answered = done
            bar("classify", "classifying rows", done, total)

        bad = predict_file(
            classifier,
            input_file or "-",
            output_file,
            text,
            reject,
            errors,
            show,
            note,
            resume=resume,
            note=tell,
            tool=tool,
            mark=labels_separator,
            **how,
        )
    if not answered and not resume:  # a run to resume may have answered all
        source = "standard input" if input_file == "-" else input_file
        err_console.print(f"{source} has no rows, so nothing was classified", highlight=False, markup=False)
    if bad:
        numbers = ", ".join(str(row.number) for row in unread) + (", ..." if bad > len(unread) else "")
        rows = f"row{'' if bad == 1 else 's'} {numbers} ({unread[0].problem})"
        where = f"see {errors}" if errors else f"{rows}; name a file with --errors to list all"
        err_console.print(f"{counted(bad, 'row')} without a readable text got no label: {where}")


def fitted(name: str, device: str | None) -> "FewShotClassifier":
    """A classifier that can answer. Raises InputError for a model that has learned no categories yet."""
    from meta_text.classify.fitted import fitted as load_fitted

    return load_fitted(name, device)


def as_utf8(argument: str) -> str:
    """An argument decoded as UTF-8 if its bytes are valid UTF-8, whatever the locale."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument
