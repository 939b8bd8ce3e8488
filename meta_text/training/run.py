"""Whole runs: train a recipe and test it, test a saved model."""

import os
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from meta_text.config import EpisodeShape, Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.device import chosen_device
from meta_text.errors import ConfigError
from meta_text.evaluation.answers import answer_with
from meta_text.evaluation.results import evaluate_episodes
from meta_text.files import replacing, tidy
from meta_text.model.build import build_model, open_split
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel
from meta_text.model.results import Result
from meta_text.saving.card import write_card
from meta_text.saving.model_folder import load_model, write_model
from meta_text.training.bench import Bench, draw_episodes, used_part
from meta_text.training.calibrate import calibrate_model
from meta_text.training.fit_prior import fit_prior
from meta_text.training.progress import Progress
from meta_text.training.reports import EvaluationReport, RunContext, TrainReport, privileges
from meta_text.training.trainer import Trainer, TrainState

EPISODES_EACH = 8  # of a shape, where several corpora calibrate one model


def train(bench: Bench, out: Path | None = None, *, resume: bool = False) -> tuple[Bench, MetaModel, TrainState]:
    """Meta-train the recipe's learner and return the model that is best on the validation classes.

    The returned bench belongs to that model: `auto` changes the recipe to the learner that it chose.
    """
    recipe = bench.recipe
    if recipe.learner.name == "auto":
        return _train_best(bench, out, resume=resume)
    model = build_model(recipe, bench.embedding, len(bench.corpus.class_names)).to(bench.embedding.device)
    on_step = partial(bench.progress.step_trained, recipe.learner.name)
    return bench, model, Trainer(model, bench.embedded, bench.split, out, on_step).run(resume=resume)


def _train_best(bench: Bench, out: Path | None, *, resume: bool) -> tuple[Bench, MetaModel, TrainState]:
    """Train every candidate and keep the one with the best validation accuracy; the seconds are the sum over all."""
    learner_names, seconds = bench.recipe.learner.candidates, 0.0
    best: tuple[Bench, MetaModel, TrainState] | None = None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("[learner] name = 'auto' trains in one process; name one learner to train in several")
    if not learner_names or "auto" in learner_names:
        raise ConfigError(
            f"[learner] candidates = {list(learner_names)}; list the names of the learners to choose from"
        )
    for name in learner_names:
        folder = None if out is None else out / name
        if folder is not None:
            tidy(folder)
        has_checkpoint = folder is not None and (folder / "checkpoint").exists()
        trained = train(bench.renewed(bench.recipe.with_learner(name)), folder, resume=resume and has_checkpoint)
        seconds += trained[2].seconds
        if best is None or (trained[2].best or 0.0) > (best[2].best or 0.0):
            best = trained
    assert best is not None
    chosen, model, state = best
    how_good = "" if state.best is None else f", {100 * state.best:.1f} % on the validation classes"
    bench.progress.message(f"auto: {chosen.recipe.learner.name}{how_good}")
    return chosen, model, replace(state, seconds=seconds)


def run_recipe(
    recipe: Recipe,
    progress: Progress | None = None,
    out: Path | None = None,
    *,
    resume: bool = False,
    device: str | None = None,
) -> tuple[MetaModel, Bench, TrainReport]:
    """Train and test a recipe. The model is saved to `out`/model before the tests, and again with their results."""
    progress, started = progress or Progress(), time.perf_counter()
    if out is not None:
        out = out.expanduser()
        tidy(out)
    bench, model, state = train(Bench.open(recipe, progress, device), out, resume=resume)
    with TemporaryDirectory() as cache:
        bench = bench.settled(Path(cache), ("validation", "test"))
        model, bench = fitted(model, bench)
        _save(model, out, state)
        results = _test(model, bench)
        for corpus in bench.unseen:
            unseen = _test(model, bench.of_unseen(corpus, Path(cache)))
            results += [replace(result, corpus=corpus.name) for result in unseen]
    model = model.with_findings(results=results)
    _save(model, out, state)
    report = TrainReport(
        results=tuple(results),
        context=RunContext.of(bench.recipe),
        validation_accuracy=state.best,
        best_step=state.best_step,
        train_seconds=round(state.seconds, 1),
        total_seconds=round(time.perf_counter() - started, 1),
    )
    return model, bench, report


def help_to_train(recipe: Recipe, out: Path | None = None, *, resume: bool = False, device: str | None = None) -> None:
    """The part of `run_recipe` that all processes of a run do; the main one also tests and saves."""
    train(Bench.open(recipe, Progress(), device), out, resume=resume)


def fitted(model: MetaModel, bench: Bench) -> tuple[MetaModel, Bench]:
    """The model with its calibration and, where several encoders are weighed, their prior.

    Training changes no encoder that is weighed, so the train classes are as good as held out for what depends on them.
    """
    if bench.recipe.embedding.kind != "encoders":
        bench.progress.message("calibrating on the validation classes")
        return model.with_findings(calibration=calibrate_model(model, bench.embedded, bench.split.validation)), bench
    class_names = (*bench.split.train, *bench.split.validation)
    bench.progress.message("learning the prior of the encoders' weights")
    prior = fit_prior(bench.embedded, class_names)
    bench = replace(bench, embedded=bench.embedded.with_prior(prior), prior=prior)
    bench.progress.message("calibrating on all classes but those of the test")
    calibration = calibrate_model(model, bench.embedded, class_names, EPISODES_EACH)
    return model.with_findings(calibration=calibration, prior=prior), bench


def _test(model: MetaModel, bench: Bench) -> list[Result]:
    """One result for each shape of episodes, with and without class names as the recipe says."""
    learner = bench.recipe.learner
    results = []
    for episodes in bench.test_episodes():
        for label_names in learner.names_tested:
            predict = answer_with(model, label_names=label_names)
            on_answered = partial(bench.progress.episodes_tested, learner.name)
            evaluated = evaluate_episodes(
                predict, bench.embedded, episodes, learner.name, label_names=label_names, on_answered=on_answered
            )
            results.append(evaluated.result)
    return results


def _save(model: MetaModel, out: Path | None, state: TrainState) -> None:
    """Write the model and its card to `out`/model."""
    if out is not None:
        with replacing(out / "model") as folder:
            write_model(model, folder, {"training": asdict(state)})
            write_card(model, folder)


def evaluate_saved(
    model_folder: Path,
    corpus_name: str,
    shape: EpisodeShape,
    *,
    text: str = "text",
    label: str = "label",
    classes: str = "test",
    split: str | None = None,
    episodes: int = 600,
    seed: int = 0,
    label_names: bool = False,
    progress: Progress | None = None,
    device: str | None = None,
) -> EvaluationReport:
    """Test a saved model on a part of any corpus. With split=None the model's own class split is used.

    A model keeps only the name of a class split file. If that file is missing, evaluating on the corpus that it was
    made for raises ConfigError; any other corpus uses class split 1.
    """
    progress = progress or Progress()
    model = load_model(model_folder).on(chosen_device(device))
    corpus = Corpus.open(corpus_name, text=text, label=label)
    progress.message(corpus.describe())
    if split is None and classes != "all":
        split = _split_as_trained(model.recipe, corpus)
    chosen: int | str = 1 if split is None else int(split) if split.isdigit() else split
    recipe = replace(model.recipe, corpus=replace(model.recipe.corpus, split=chosen))
    class_names = corpus.class_names if classes == "all" else open_split(recipe, corpus).part(classes)
    others = tuple(set(corpus.class_names) - set(class_names))
    corpus = used_part(corpus, ClassSplit(others, (), tuple(class_names)), 0, 0)
    drawn = draw_episodes(corpus, class_names, shape, episodes, seed)  # before encoding, since the texts may be too few
    embedded = EmbeddedCorpus(corpus, model.embedding, progress=progress.texts_encoded, prior=model.prior)
    evaluated = evaluate_episodes(
        answer_with(model, label_names=label_names),
        embedded,
        drawn,
        recipe.learner.name,
        label_names=label_names,
        on_answered=partial(progress.episodes_tested, recipe.learner.name),
    )
    context = replace(RunContext.of(recipe), corpus=corpus.name, seed=seed, privileges=privileges(recipe, label_names))
    return EvaluationReport(evaluated.result, context, classes, evaluated.counts)


def _split_as_trained(recipe: Recipe, corpus: Corpus) -> str:
    split = recipe.corpus.split
    if isinstance(split, int) or Path(split).exists():
        return str(split)
    if corpus.name == (recipe.corpus.name or Path(recipe.corpus.path or "").name):
        raise ConfigError(
            f"this model was trained on '{corpus.name}' with the class split file {split}, which cannot be found; "
            "give its path with --split"
        )
    return "1"
