"""The command line: parse, call, print. Exit code 0 done, 2 the user's mistake, 1 a fault of ours."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from meta_text.cli.console import err_console, out_console, points, show_results, watching, write_json

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

# torch keeps up to 1,024 kernels, one a shape of batch, in each of two caches: a gigabyte over a long file
BOUNDED_KERNELS = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}

Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change one key of the recipe.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: cuda if there is one.")]


@app.command()
def train(
    recipe: Path,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the model, its history and checkpoints.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json_file: JsonFile = None,
    device: Device = None,
) -> None:
    """Meta-train a recipe, then test on classes never seen."""
    from meta_text.config import load_recipe
    from meta_text.files import check_target
    from meta_text.training.run import run_recipe

    if out is not None:
        check_target(out / "model")  # before the hours, not after
    elif resume:
        raise ValueError("--resume without --out; name the folder of the run to go on with")
    read = load_recipe(recipe, sets or ())
    with watching(read.train.outer_steps) as watcher:
        _, _, result = run_recipe(read, watcher, out, resume=resume, device=device)
    show_results(f"{result['corpus']}, {result['episodes']} test episodes, classes never trained on", result["results"])
    where = f"; model in {out / 'model'}" if out is not None else ""
    out_console.print(
        f"best at step {result['best_step']} (validation accuracy {100 * result['validation_accuracy']:.1f} %), "
        f"{result['total_seconds']:.0f} s in all{where}"
    )
    write_json(json_file, result)


@app.command()
def evaluate(
    model: str,
    corpus: Annotated[str, typer.Option(help="A known name, a folder, or a CSV/JSONL/Parquet file.")],
    classes: Annotated[str, typer.Option(help="train, validation, test, or all.")] = "test",
    split: Annotated[
        str | None, typer.Option(help="A class-split file, or the number of one; default: as trained.")
    ] = None,
    n_way: Annotated[int, typer.Option(min=2)] = 5,
    k_shot: Annotated[int, typer.Option(min=1)] = 1,
    n_query: Annotated[int, typer.Option(min=1)] = 5,
    episodes: Annotated[int, typer.Option(min=1)] = 600,
    seed: int = 0,
    label_names: Annotated[bool, typer.Option("--label-names", help="Use class names as a prior.")] = False,
    json_file: JsonFile = None,
    device: Device = None,
) -> None:
    """Test a saved model on episodes of any corpus. MODEL is a folder, a Hub name, or `default`."""
    from meta_text.saving.loading import find_folder
    from meta_text.training.run import evaluate_saved

    shape = {"n_way": n_way, "k_shot": k_shot, "n_query": n_query}
    with watching(0) as watcher:
        result = evaluate_saved(
            find_folder(model),
            corpus,
            classes,
            split,
            shape,
            episodes,
            seed,
            label_names=label_names,
            watcher=watcher,
            device=device,
        )
    show_results(f"{result['corpus']}, {result['episodes']} episodes, {classes} classes", [result])
    write_json(json_file, result)


@app.command()
def compare(
    recipe: Path,
    learners: Annotated[str | None, typer.Option(help="Comma-separated names; default: [compare] learners.")] = None,
    sets: Sets = None,
    json_file: JsonFile = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the accuracies, as PNG, SVG or PDF.")] = None,
    device: Device = None,
) -> None:
    """Train several learners by one recipe and test them, and untrained baselines, on identical episodes."""
    from meta_text.config import load_recipe
    from meta_text.model.model import check_learners
    from meta_text.training.comparison import compare as run_compare
    from meta_text.training.figures import check_figure, plot_comparison

    read = load_recipe(recipe, sets or ())
    names = tuple(name.strip() for name in learners.split(",")) if learners else read.compare.learners
    check_learners(read, names)  # before the hours, not after
    if figure is not None:
        check_figure(figure)
    with watching(read.train.outer_steps) as watcher:
        result = run_compare(read, names, watcher, device)
    show_results(f"{result['corpus']}, identical episodes", result["results"])
    heads = ("learner", "against", "shots", "names", "accuracy, points", "macro-F1, points")
    table = Table(*heads, title="Paired differences")
    for row in result["paired"]:
        named, both = "yes" if row["label_names"] else "", (points(row[m]) for m in ("accuracy", "f1_macro"))
        table.add_row(row["learner"], row["against"], str(row["k_shot"]), named, *both)
    out_console.print(table)
    write_json(json_file, result)
    if figure is not None:
        plot_comparison(result, figure)


@app.command()
def fit(
    model: str,
    support_file: Path,
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    label_names: Annotated[bool, typer.Option("--label-names", help="Use class names as a prior.")] = False,
    text: Annotated[str, typer.Option(help="Column of texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column of labels.")] = "label",
    without_texts: Annotated[
        bool, typer.Option("--without-texts", help="Do not keep the labelled texts: the classifier cannot be changed.")
    ] = False,
    device: Device = None,
) -> None:
    """Learn categories from a CSV, JSONL or Parquet file. MODEL is a folder, a Hub name, or `default`."""
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.corpus.corpus import Corpus
    from meta_text.files import check_target

    check_target(out)
    if not support_file.is_file():
        what = "is a folder" if support_file.is_dir() else "does not exist"
        raise ValueError(f"{support_file} {what}; a CSV, JSONL or Parquet file of labelled texts is needed")
    corpus = Corpus.open(support_file, text=text, label=label)
    classifier = FewShotClassifier.from_pretrained(model, device=device, label_names=label_names)
    labels = [corpus.class_names[i] for i in corpus.labels]
    with watching(0) as watcher:
        classifier.fit(corpus.texts, labels, progress=watcher.encoding)
    classifier.save_pretrained(out, include_support=not without_texts)
    out_console.print(f"{corpus.describe()}; classifier in {out}")
    if len(corpus.texts) > len(corpus.class_names) and len(corpus.texts) <= 1000:
        found = classifier.audit()
        out_console.print(
            f"leave-one-out accuracy {100 * found.accuracy:.0f} % over {found.checked} texts "
            f"(95 % interval {100 * found.low:.0f} to {100 * found.high:.0f} %)"
        )
        for doubt in found.doubts[:5]:
            line = (
                f"mislabelled? {doubt.label!r}, rather {doubt.guess!r} ({100 * doubt.probability:.0f} %): {doubt.text}"
            )
            out_console.print(line, markup=False)


@app.command()
def predict(
    folder: str,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to classify.")] = None,
    input_file: Annotated[
        str | None, typer.Option("--input", metavar="FILE", help="CSV, JSONL or Parquet; - reads standard input.")
    ] = None,
    output_file: Annotated[
        str, typer.Option("--output", metavar="FILE", help="CSV, JSONL or Parquet; - writes JSON lines.")
    ] = "-",
    text: Annotated[str, typer.Option(help="Column of texts.")] = "text",
    reject: Annotated[
        float | None, typer.Option(help="Answer null for texts like no class, at this false-reject rate.")
    ] = None,
    errors: Annotated[Path | None, typer.Option(help="File for rows that could not be read.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed run of the same left --output.")
    ] = False,
    device: Device = None,
) -> None:
    """Classify texts with a classifier that `fit` made: in order, one answer a row."""
    for name, value in BOUNDED_KERNELS.items():  # read when torch first computes
        os.environ.setdefault(name, value)
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.classify.input_rows import InputRow
    from meta_text.classify.predict_file import predict_file

    if bool(texts) == (input_file is not None):
        raise ValueError("either TEXT arguments or --input FILE is needed, and not both")
    if texts and resume:
        raise ValueError("TEXT arguments leave nothing to resume; --resume goes with --input and --output")
    classifier = FewShotClassifier.from_pretrained(folder, device=device)
    if classifier.meta_model.engine_note:
        err_console.print(classifier.meta_model.engine_note, style="dim")
    if texts:
        for one, label, probability in classifier.answers(texts, reject):
            answer = "none of these\t" if label is None else f"{label}\t{100 * probability:.0f} %"
            typer.echo(f"{answer}\t{one}")  # rich would expand the tabs
        return
    unread: list[InputRow] = []

    def note(row: InputRow) -> None:
        if len(unread) < 5:
            unread.append(row)

    with watching(0) as watcher:
        show = watcher.classifying
        bad = predict_file(classifier, input_file or "-", output_file, text, reject, errors, show, note, resume=resume)
    if bad:
        numbers = ", ".join(str(row.number) for row in unread) + (", ..." if bad > len(unread) else "")
        where = (
            f"see {errors}" if errors else f"row {numbers} ({unread[0].problem}); name a file with --errors to list all"
        )
        err_console.print(f"{bad} rows could not be read and have no label: {where}", markup=False, highlight=False)


@app.command()
def export(
    folder: str,
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="The file to write.")],
) -> None:
    """Write a classifier as one ONNX file: token ids in, probabilities out, tokenizer and labels in its metadata."""
    from meta_text.classify.classifier import FewShotClassifier

    FewShotClassifier.from_pretrained(folder, device="cpu").export_onnx(out)
    out_console.print(f"{out}, {out.stat().st_size / 1e6:.1f} MB")


@app.command()
def push(
    folder: str,
    repo_id: str,
    private: Annotated[bool, typer.Option("--private")] = False,
    embed: Annotated[bool, typer.Option("--embed", help="Publish the embedding's weights too.")] = False,
    include_support: Annotated[
        bool, typer.Option("--include-support", help="Publish the labelled texts too; they may be private.")
    ] = False,
    branch: Annotated[str | None, typer.Option(help="Publish on this branch; it is made if it is not there.")] = None,
) -> None:
    """Publish a model or classifier on the Hugging Face Hub, in one commit."""
    from meta_text.classify.classifier import FewShotClassifier

    classifier = FewShotClassifier.from_pretrained(folder)
    address = classifier.push_to_hub(
        repo_id, private=private or None, embed=embed, include_support=include_support, branch=branch
    )
    out_console.print(address)


@app.command()
def demo(folder: Annotated[Path, typer.Argument(help="Folder with recipes/ and data/.")] = Path()) -> None:
    """Meta-train on the small corpus, test on unseen categories, then learn three categories given on the spot."""
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.config import load_recipe
    from meta_text.training.run import run_recipe

    read = load_recipe(folder / "recipes" / "intent.toml")
    with watching(read.train.outer_steps) as watcher:
        model, _, result = run_recipe(read, watcher, None)
    show_results("Categories never seen in training, 5-way", result["results"])
    support = {
        "water the plants": ["the basil looks thirsty", "can you give the ferns a drink", "soil's bone dry again"],
        "feed the cat": ["Miso is meowing at her bowl", "kibble time", "the cat has not had her breakfast"],
        "take out the bins": ["it's rubbish day tomorrow", "the kitchen bin smells", "recycling goes out tonight"],
    }
    asked = [
        "she keeps scratching at the empty dish",
        "the leaves are drooping",
        "lorry comes at six, bags to the kerb please",
        "what is the capital of Peru",
    ]
    labels = [label for label, texts in support.items() for _ in texts]
    classifier = FewShotClassifier(model).fit([text for texts in support.values() for text in texts], labels)
    table = Table(
        "text", "category", "probability", title="Three new categories, three texts each, learned on the spot"
    )
    for text, category, probability in classifier.answers(asked, reject=0.05):
        known = "none of these" if category is None else category
        table.add_row(text, known, f"{100 * probability:.0f} %" if category is not None else "")
    out_console.print(table)


def main(run: Callable[[], Any] = app) -> None:
    """The `meta-text` command."""
    try:
        run()
    except SystemExit as stop:
        # who reads our output may stop early, as `head` does; the command line's library calls that a fault
        sys.exit(0 if isinstance(stop.__context__, BrokenPipeError) else stop.code)
    except (ValueError, OSError) as error:
        err_console.print(f"meta-text: {error}", markup=False, highlight=False)
        sys.exit(2)
