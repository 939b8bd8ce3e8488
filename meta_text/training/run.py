"""Whole runs: train a recipe and test it, test a saved model."""

import platform
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from meta_text.config import Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.errors import ConfigError
from meta_text.evaluation.answers import answer_with
from meta_text.evaluation.results import evaluate_episodes, without_episodes
from meta_text.files import replacing
from meta_text.model.build import build_model, chosen_device, open_split
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel
from meta_text.saving.card import write_card
from meta_text.saving.model_folder import load_model, write_model
from meta_text.training.bench import Bench, _bench_of_unseen, drawn_tests, test_episodes, used_part
from meta_text.training.calibrate import calibrate_model
from meta_text.training.progress import Watcher
from meta_text.training.trainer import Trainer, TrainState


def train(bench: Bench, out: Path | None = None, *, resume: bool = False) -> tuple[Bench, MetaModel, TrainState]:
    """Meta-train the recipe's learner; the model that comes back is the best by validation accuracy.

    The bench that comes back is that of the model: `auto` changes the recipe to the learner it chose.
    """
    recipe = bench.recipe
    if recipe.learner.name == "auto":
        return _train_best(bench, out, resume=resume)
    model = build_model(recipe, bench.embedding, len(bench.corpus.class_names)).to(bench.embedding.device)
    trainer = Trainer(
        model, bench.embedded, bench.split, out, progress=lambda s: bench.watcher.training(recipe.learner.name, s)
    )
    return bench, model, trainer.run(resume=resume)


def _train_best(bench: Bench, out: Path | None, *, resume: bool) -> tuple[Bench, MetaModel, TrainState]:
    """Train every candidate and keep the one with the best validation accuracy; seconds are those of all."""
    names, best, seconds = bench.recipe.learner.candidates, None, 0.0
    if not names or "auto" in names:
        raise ConfigError(f"[learner] candidates = {list(names)}; names of learners to choose from are needed")
    for name in names:
        folder = None if out is None else out / name
        goes_on = resume and folder is not None and (folder / "checkpoint").exists()
        found = train(bench.renewed(bench.recipe.with_learner(name)), folder, resume=goes_on)
        seconds += found[2].seconds
        if best is None or found[2].best > best[2].best:
            best = found
    assert best is not None
    bench.watcher.note(f"auto: {best[0].recipe.learner.name}, {100 * best[2].best:.1f} % on the validation classes")
    return best[0], best[1], replace(best[2], seconds=seconds)


def run_recipe(
    recipe: Recipe, watcher: Watcher, out: Path | None, *, resume: bool = False, device: str | None = None
) -> tuple[MetaModel, Bench, dict[str, Any]]:
    """Train and test; the result is the first test's, with all of them under "results"."""
    started = time.perf_counter()
    bench = Bench.open(recipe, watcher, device)
    bench, model, state = train(bench, out, resume=resume)
    recipe = bench.recipe
    with TemporaryDirectory() as cache:
        bench = bench.settled(Path(cache), ("validation", "test"))
        watcher.note("calibrating on the validation classes")
        model.calibration = calibrate_model(model, bench.embedded, bench.split.validation)
        _save(model, out, state)
        results = _test(model, bench, recipe)
        for name in recipe.evaluate.unseen:
            unseen = _bench_of_unseen(bench, recipe, name, Path(cache))
            results += [{**row, "corpus": unseen.corpus.name} for row in _test(model, unseen, recipe)]
    model.results = [without_episodes(result) for result in results]
    _save(model, out, state)
    whole = {
        **without_episodes(results[0]),
        **context(recipe),
        "validation_accuracy": state.best,
        "best_step": state.best_step,
        "train_seconds": round(state.seconds, 1),
        "total_seconds": round(time.perf_counter() - started, 1),
        "results": model.results,
    }
    return model, bench, whole


def _test(model: MetaModel, bench: Bench, recipe: Recipe) -> list[dict[str, Any]]:
    """One row a shape of task and use of class names."""
    rows = []
    for episodes in drawn_tests(bench):
        for names in recipe.learner.names_tested:
            predict, name = answer_with(model, label_names=names), recipe.learner.name
            progress = partial(bench.watcher.testing, name)
            rows.append(
                evaluate_episodes(predict, bench.embedded, episodes, name, label_names=names, progress=progress)
            )
    return rows


def _save(model: MetaModel, out: Path | None, state: TrainState) -> None:
    """The model with its card, in `out`/model."""
    if out is not None:
        with replacing(out / "model") as folder:
            write_model(model, folder, {"training": asdict(state)})
            write_card(model, folder)


def context(recipe: Recipe) -> dict[str, Any]:
    """What a reader needs to repeat a figure."""
    corpus = recipe.corpus
    return {
        "seed": recipe.evaluate.seed,
        "train_seed": recipe.train.seed,
        "corpus": corpus.name or Path(corpus.path or "").name,
        "split": Path(corpus.split).name if isinstance(corpus.split, str) else corpus.split,
        "privileges": privileges(recipe, recipe.learner.label_names is True),
        "recipe": recipe.as_dict(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "hardware": f"{torch.get_num_threads()} threads, {'cuda' if torch.cuda.is_available() else 'cpu'}",
    }


def evaluate_saved(
    model_folder: Path,
    corpus_name: str,
    classes: str,
    split: str | None,
    shape: dict[str, int],
    episodes: int,
    seed: int,
    *,
    label_names: bool,
    watcher: Watcher,
    device: str | None = None,
) -> dict[str, Any]:
    """Test a saved model on a part of any corpus; split None is the split it was trained with.

    A model keeps but the name of a class split file: where that is not here, it is needed again for the corpus that it
    was made for (ConfigError), and another corpus is split by number 1.
    """
    model = load_model(model_folder).to(chosen_device(device))
    corpus = Corpus.open(corpus_name)
    watcher.note(corpus.describe())
    if split is None and classes != "all":
        split = _split_as_trained(model.recipe, corpus)
    chosen: int | str = 1 if split is None else int(split) if split.isdigit() else split
    recipe = replace(model.recipe, corpus=replace(model.recipe.corpus, split=chosen))
    names = corpus.class_names if classes == "all" else open_split(recipe, corpus).part(classes)
    others = tuple(set(corpus.class_names) - set(names))
    corpus = used_part(corpus, ClassSplit(others, (), tuple(names)), 0, 0)
    embedded = EmbeddedCorpus(corpus, model.embedding, progress=watcher.encoding)
    drawn = test_episodes(corpus, names, shape, episodes, seed)
    predict = answer_with(model, label_names=label_names)
    name = recipe.learner.name
    progress = partial(watcher.testing, name)
    result = evaluate_episodes(predict, embedded, drawn, name, label_names=label_names, progress=progress)
    about = context(recipe) | {"corpus": corpus.name, "classes": classes, "seed": seed}
    return without_episodes(result) | about | {"privileges": privileges(recipe, label_names)}


def _split_as_trained(recipe: Recipe, corpus: Corpus) -> str:
    wanted = recipe.corpus.split
    if isinstance(wanted, int) or Path(wanted).exists():
        return str(wanted)
    if corpus.name == (recipe.corpus.name or Path(recipe.corpus.path or "").name):
        raise ConfigError(
            f"this model was trained on '{corpus.name}' with the class split file {wanted}, which is not here; name it with --split"
        )
    return "1"


def privileges(recipe: Recipe, label_names: bool) -> list[str]:
    """What a figure uses beside the labelled texts of each task and the train classes of the corpus."""
    return ["label names"] * label_names + [f"other corpora ({', '.join(recipe.corpus.also)})"] * bool(
        recipe.corpus.also
    )
