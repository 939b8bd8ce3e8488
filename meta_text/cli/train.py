"""Commands that meta-train and test: train, evaluate, compare."""

from pathlib import Path
from typing import Annotated

import typer

from meta_text.cli.console import out_console, run_progress, write_json
from meta_text.cli.labelled_file import LabelColumn, TextColumn
from meta_text.cli.options import (
    Device,
    Embedding,
    JsonFile,
    LabelNames,
    Model,
    Recipe,
    Sets,
    path_option,
    with_encoders,
    word,
)
from meta_text.cli.tables import show_differences, show_results
from meta_text.cli.verbosity import detail_model, detail_recipe
from meta_text.errors import ConfigError, InputError
from meta_text.extras import check_extra
from meta_text.files import LABELLED_KINDS
from meta_text.wording import duration


def train(
    recipe: Recipe,
    sets: Sets = None,
    embedding: Embedding = None,
    out: Annotated[
        Path | None, path_option("--out", "Folder for the model, its history and checkpoints.", "FOLDER")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint in --out.")] = False,
    json_file: JsonFile = None,
    device: Device = None,
) -> None:
    """Meta-train a recipe, then test on classes never seen."""
    check_extra("train", "training")
    from meta_text.config import load_recipe
    from meta_text.files import check_target
    from meta_text.training.processes import is_main_process
    from meta_text.training.run import help_to_train, run_recipe

    if out is not None:
        check_target(out / "model")  # before hours of training, not after
    elif resume:
        raise InputError("--resume without --out; name the folder of the run to continue")
    read = load_recipe(recipe, with_encoders(sets, embedding))
    if not is_main_process():
        help_to_train(read, out, resume=resume, device=device)
        return
    detail_recipe(read)
    with run_progress(read.train.outer_steps) as progress:
        model, _, report = run_recipe(read, progress, out, resume=resume, device=device)
    detail_model(model, read.learner.name)
    episodes = report.results[0].episodes
    show_results(f"{report.context.corpus}, {episodes} test episodes, classes never trained on", report.results)
    where = f"; model in {out / 'model'}" if out is not None else ""
    best = "nothing was trained"
    if report.validation_accuracy is not None:
        best = f"best at step {report.best_step} (validation accuracy {100 * report.validation_accuracy:.1f} %)"
    out_console.print(f"\n{best}, {duration(report.total_seconds)} in total{where}")
    write_json(json_file, report.as_dict())


def evaluate(
    model: Model,
    corpus: Annotated[
        str, typer.Option(parser=word, metavar="CORPUS", help=f"A known name, a folder, or a file: {LABELLED_KINDS}.")
    ],
    text: TextColumn = "text",
    label: LabelColumn = "label",
    classes: Annotated[str, typer.Option(metavar="PART", help="train, validation, test, or all.")] = "test",
    split: Annotated[
        str | None,
        typer.Option(parser=word, metavar="SPLIT", help="A class-split file, or a number; default: as trained."),
    ] = None,
    n_way: Annotated[int, typer.Option(metavar="NUMBER", min=2, help="Classes in each episode.")] = 5,
    k_shot: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Labelled texts per class.")] = 1,
    n_query: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Texts per class to classify.")] = 5,
    episodes: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="How many episodes to draw.")] = 600,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of the draw.")] = 0,
    label_names: LabelNames = False,
    json_file: JsonFile = None,
    device: Device = None,
) -> None:
    """Test a saved model on episodes of any corpus."""
    check_extra("train", "testing on episodes")
    from meta_text.config import EpisodeShape
    from meta_text.saving.loading import find_folder
    from meta_text.training.run import evaluate_saved

    with run_progress() as progress:
        report = evaluate_saved(
            find_folder(model),
            corpus,
            EpisodeShape(n_way, k_shot, n_query),
            text=text,
            label=label,
            classes=classes,
            split=split,
            episodes=episodes,
            seed=seed,
            label_names=label_names,
            progress=progress,
            device=device,
        )
    show_results(f"{report.context.corpus}, {report.result.episodes} episodes, {classes} classes", [report.result])
    write_json(json_file, report.as_dict())


def compare(
    recipe: Recipe,
    learners: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Comma-separated names; default: [compare] learners.")
    ] = None,
    sets: Sets = None,
    embedding: Embedding = None,
    json_file: JsonFile = None,
    figure: Annotated[Path | None, path_option("--figure", "Draw the accuracies, as PNG, SVG or PDF.")] = None,
    leave_out: Annotated[
        bool,
        typer.Option("--leave-out", help="Leave each of [corpus] also out in turn; test the recipe's learner on it."),
    ] = False,
    device: Device = None,
) -> None:
    """Train several learners by one recipe and compare them.

    All are tested on identical episodes, next to baselines that need no training.
    """
    check_extra("train", "training")
    from meta_text.config import load_recipe
    from meta_text.figures.comparison import plot_comparison
    from meta_text.figures.drawing import check_figure
    from meta_text.model.build import check_learners
    from meta_text.training.comparison import compare as run_compare
    from meta_text.training.leave_out import leave_out as run_leave_out

    read = load_recipe(recipe, with_encoders(sets, embedding))
    detail_recipe(read)
    if leave_out:
        if learners or figure is not None:
            raise ConfigError(
                "--leave-out tests the recipe's own learner and draws no figure; leave --learners and --figure out"
            )
        with run_progress(read.train.outer_steps) as progress:
            left_out = run_leave_out(read, progress, device)
        show_results("", [row.result for row in left_out.rows])
        show_differences(left_out.paired)
        write_json(json_file, left_out.as_dict())
        return
    learner_names = tuple(name.strip() for name in learners.split(",")) if learners else read.compare.learners
    check_learners(read, learner_names)  # before hours of training, not after
    if figure is not None:
        check_figure(figure)
    with run_progress(read.train.outer_steps) as progress:
        comparison = run_compare(read, learner_names, progress, device)
    show_results(f"{comparison.context.corpus}, identical episodes", [row.result for row in comparison.rows])
    show_differences(comparison.paired)
    write_json(json_file, comparison.as_dict())
    if figure is not None:
        plot_comparison(comparison, figure)
