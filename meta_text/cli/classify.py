"""Commands that use a model: fit, distill, predict."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meta_text.cli.console import Bar, bars, err_console, laps, out_console, tell, working
from meta_text.cli.engine import Engine, Workers, asked_of_ray, bound_kernels, is_ray
from meta_text.cli.labelled_file import (
    Encoding,
    LabelColumn,
    LabelledFile,
    LabelsSeparator,
    Separator,
    TextColumn,
    read_labelled,
    read_texts,
)
from meta_text.cli.opening import as_utf8, fitted, fitted_of_either_kind
from meta_text.cli.options import (
    Classifier,
    Device,
    Embedding,
    Format,
    FromName,
    Hierarchy,
    LabelNames,
    Model,
    ToName,
    encoders_named,
    path,
    path_option,
    word,
)
from meta_text.cli.several_labels import fit_several, lines_of, refuse_options
from meta_text.cli.summary import summarize
from meta_text.cli.verbosity import detail_model
from meta_text.errors import InputError
from meta_text.files import KINDS_READ
from meta_text.wording import counted

if TYPE_CHECKING:
    from meta_text.embedding.reading import Progress


def _reading_then_moving(bar: Bar) -> "Progress":
    """Bars for `FewShotClassifier.fit`, whose progress starts anew when an encoder is moved."""
    all_read = False

    def progress(done: int, total: int) -> None:
        nonlocal all_read
        key, text = ("move", "moving an encoder") if all_read else ("encode", "encoding texts")
        bar(key, text, done, total)
        if done == total and not all_read:
            bar("learn", "learning", 0, None)
            all_read = True

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
    hierarchy: Hierarchy = None,
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
    more = None if unlabeled is None else [row.text for row in read_texts(unlabeled, text, separator, encoding)]
    if labels_separator is not None:
        given = {
            "--class-prior": class_prior != "balanced",
            "--hierarchy": hierarchy is not None,
            "--effort": effort != "normal",
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
            unlabelled=more,
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
    detail_model(classifier.meta_model, model)
    laps.lap("loading the model")
    labels = [corpus.class_names[i] for i in corpus.labels]
    classifier.class_prior, classifier.hierarchy = class_prior, hierarchy
    with bars() as bar, warnings.catch_warnings():
        # a note of the corpus, told above
        warnings.filterwarnings("ignore", "labels .* (differ only in case|look alike)")
        classifier.fit(corpus.texts, labels, progress=_reading_then_moving(bar), effort=effort, unlabeled=more)
    classifier.save_pretrained(out, include_support=not without_texts)
    laps.lap("saving")
    told = replace(corpus, name=support_file.name, notes=())
    out_console.print(f"{told.describe()}; classifier in {out}")
    if len(corpus.texts) <= 1000:
        with working("leaving out each text in turn"):
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
    summary: Annotated[
        Path | None,
        path_option(
            "--summary", "Sum up the answers beside those at fit in this .json file, and say whether to label again."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same command.")] = False,
    format: Format = None,
    from_name: FromName = None,
    to_name: ToName = None,
    labels_separator: Annotated[
        str, typer.Option(metavar="SEPARATOR", help="What to write between labels, if a text may have several.")
    ] = "|",
    separator: Separator = None,
    encoding: Encoding = None,
    device: Device = None,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    """Classify texts with a classifier that `fit` made. Answers come in order, one per row."""
    texts = [as_utf8(text) for text in texts or ()]
    bound_kernels()
    from meta_text.classify.answerers import SUMMED_AT
    from meta_text.classify.input_rows import InputRow, count_rows
    from meta_text.classify.predict_file import check_outputs, predict_file
    from meta_text.classify.ray_engine import predict_with_ray
    from meta_text.classify.tally import Tally
    from meta_text.classify.tool_imports import ToolFormat

    tool, bulk = ToolFormat.named(format, text, from_name, to_name), None
    if texts and input_file is not None:
        raise InputError("TEXT arguments and --input were both given; leave one out")
    if not texts and input_file is None:
        raise InputError("nothing to classify; give TEXT arguments, or --input FILE")
    if texts and resume:
        raise InputError("TEXT arguments leave nothing to resume; --resume goes with --input and --output")
    if texts and summary is not None:
        raise InputError("TEXT arguments are answered in the terminal; --summary goes with --input")
    if texts and tool is not None:
        raise InputError("TEXT arguments are answered in the terminal; --format goes with --input and --output")
    alone = {"TEXT": bool(texts), "--format": tool is not None, "--separator": separator, "--encoding": encoding}
    # files are checked before the model is loaded, not after
    if is_ray(engine, workers, alone, device):
        device, files = "cpu", (input_file or "-", output_file, errors, summary)
        bulk = asked_of_ray(*files, text, reject, labels_separator, resume=resume)
    elif input_file is not None:
        check_outputs(input_file, output_file, errors, resume=resume, tool=tool, summary=summary)
    classifier = fitted_of_either_kind(folder, device)
    if texts:
        if blank := [text for text in texts if not text.strip()]:
            raise InputError(f"TEXT {blank[0]!r} is blank; write a text in its place, or leave it out")
        for line in lines_of(classifier, texts, reject):
            typer.echo(line)  # rich would expand the tabs
        return
    unread, answered, summed = list[InputRow](), 0, list[Tally]()

    def note(row: InputRow) -> None:
        if len(unread) < 5:
            unread.append(row)

    how = {"separator": separator, "encoding": encoding}
    total = None
    if err_console.is_terminal:
        total = count_rows(input_file or "-", text, **how) if bulk is None else sum(bulk.lengths)
    is_watched = output_file == "-" and out_console.is_terminal  # the answers themselves show how far it is
    with bars() as bar:

        def show(done: int) -> None:
            nonlocal answered
            answered = done
            if not is_watched:
                bar("classify", "classifying rows", done, total)

        run: dict[str, Any] = {"resume": resume, "on_tally": None if summary is None else summed.append}
        if bulk is not None:
            bad = predict_with_ray(classifier, folder, bulk, errors, show, note, workers=workers, **run)
        else:
            told: dict[str, Any] = {"note": tell, "tool": tool, "mark": labels_separator, **how, **run}
            bad = predict_file(classifier, input_file or "-", output_file, text, reject, errors, show, note, **told)
    if not answered and not resume:  # a run to resume may have answered all
        source = "standard input" if input_file == "-" else input_file
        tell(f"{source} has no rows, so nothing was classified")
    if bad:
        numbers = ", ".join(str(row.number) for row in unread) + (", ..." if bad > len(unread) else "")
        rows = f"row{'' if bad == 1 else 's'} {numbers} ({unread[0].problem})"
        where = f"see {errors}" if errors else f"{rows}; name a file with --errors to list all"
        tell(f"{counted(bad, 'row')} without a readable text got no label: {where}")
    if summary is not None:
        rate = SUMMED_AT if reject is None else reject
        summarize(classifier, summed[0], rate, summary, beside_answers=output_file == "-")
