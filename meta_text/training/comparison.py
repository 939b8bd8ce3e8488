"""Learners, and what needs no meta-learning, on identical episodes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from meta_text.config import LearnerConfig, Recipe
from meta_text.evaluation.answers import Predictor, answer_with, paired
from meta_text.evaluation.baselines import BASELINES, logistic_regression
from meta_text.evaluation.results import evaluate_episodes, without_episodes
from meta_text.model.build import build_model
from meta_text.model.model import MetaModel
from meta_text.training.bench import Bench, drawn_tests
from meta_text.training.progress import Watcher
from meta_text.training.run import context, privileges, train
from meta_text.training.trainer import Trainer, TrainState

REFERENCES = (  # what differences are given against
    "nearest_prototype",
    "logistic_regression",
    "trained_logistic_regression",
    "protonet",
    "proto_maml",
)


def compare(
    recipe: Recipe,
    learners: Sequence[str],
    watcher: Watcher,
    device: str | None = None,
    references: Sequence[str] = REFERENCES,
) -> dict[str, Any]:
    """Train each learner by the same recipe and test all on identical episodes, beside what needs no training.

    Paired differences are given against `references`, for what comes after each of them.

    Where training changes a pretrained embedding, that is done once, by the recipe's own learner; every other
    learner starts from the embedding and encoder that came out of it, and trains the rest.
    """
    started = time.perf_counter()
    curves: dict[str, list[dict[str, Any]]] = {}
    watcher = _recording(watcher, recipe, curves)
    shared = recipe.embedding.kind == "transformer" and recipe.embedding.train != "none"
    frozen = replace(recipe, embedding=replace(recipe.embedding, train="none")) if shared else recipe
    bench = Bench.open(frozen, watcher, device)
    ladder = _Ladder(recipe, bench, watcher)
    kinds = recipe.learner.names_tested
    for name, baseline in BASELINES.items():
        ladder.test(name, {names: partial(baseline, label_names=names) for names in kinds}, bench)
    untrained = replace(frozen, learner=LearnerConfig(name="protonet", label_names=recipe.learner.label_names))
    ladder.test_model("nearest_prototype", build_model(untrained, bench.embedding).to(bench.embedding.device), bench)
    if shared:
        with TemporaryDirectory() as cache:
            _compare_on_one_encoder(bench.renewed(recipe), learners, ladder, Path(cache))
    else:
        for name in learners:
            at, model, state = train(bench.renewed(recipe.with_learner(name)))
            ladder.test_model(name, model, at, state.seconds, state.best_step)
    return {
        "results": [without_episodes(row) for row in ladder.rows],
        "paired": _paired_rows(ladder.rows, references),
        "curves": curves,
        **context(recipe),
        "total_seconds": round(time.perf_counter() - started, 1),
    }


def _recording(watcher: Watcher, recipe: Recipe, curves: dict[str, list[dict[str, Any]]]) -> Watcher:
    """The same watcher, which also keeps every validation of every learner that trains."""

    def training(learner: str, state: TrainState) -> None:
        if state.step == 0:
            curves[learner] = []  # `auto` trains its candidates again
        if state.step % recipe.train.validate_every == 0 or state.step == recipe.train.outer_steps:
            curves.setdefault(learner, []).append({"step": state.step, "validation": state.validation})
        watcher.training(learner, state)

    return replace(watcher, training=training)


def _compare_on_one_encoder(bench: Bench, learners: Sequence[str], ladder: "_Ladder", cache: Path) -> None:
    first, trained, state = train(bench)
    first = first.settled(cache, ("train", "validation", "test"))
    regression = {names: partial(logistic_regression, label_names=names) for names in first.recipe.learner.names_tested}
    ladder.test("trained_logistic_regression", regression, first, state.seconds, state.best_step)
    for name in learners:
        if name == first.recipe.learner.name:
            ladder.test_model(name, trained, first, state.seconds, state.best_step)
            continue
        recipe = first.recipe.with_learner(name)
        model = build_model(recipe, first.embedding, len(first.corpus.class_names)).to(first.embedding.device)
        model.learner.encoder.load_state_dict(trained.learner.encoder.state_dict())
        further = Trainer(model, first.embedded, first.split, progress=partial(first.watcher.training, name)).run()
        ladder.test_model(name, model, first, state.seconds + further.seconds, further.best_step)


class _Ladder:
    """Collects one row for each learner, test and use of class names, all on the same episodes."""

    def __init__(self, recipe: Recipe, bench: Bench, watcher: Watcher) -> None:
        self.recipe, self.watcher = recipe, watcher
        self.drawn = drawn_tests(bench)
        self.rows: list[dict[str, Any]] = []

    def test_model(
        self, name: str, model: MetaModel, at: Bench, seconds: float = 0.0, best_step: int | None = None
    ) -> None:
        kinds = model.recipe.learner.names_tested
        self.test(name, {names: answer_with(model, label_names=names) for names in kinds}, at, seconds, best_step)

    def test(
        self,
        name: str,
        predictors: Mapping[bool, Predictor],
        at: Bench,
        seconds: float = 0.0,
        best_step: int | None = None,
    ) -> None:
        """predictors: by whether they see class names."""
        for names, predict in predictors.items():
            for episodes in self.drawn:
                row = evaluate_episodes(
                    predict,
                    at.embedded,
                    episodes,
                    name,
                    label_names=names,
                    progress=partial(self.watcher.testing, name),
                )
                extra = {"train_seconds": round(seconds, 1), "best_step": best_step}
                self.rows.append(row | extra | {"privileges": privileges(self.recipe, names)})


def _paired_rows(results: Sequence[dict[str, Any]], references: Sequence[str]) -> list[dict[str, Any]]:
    """What comes later against `references`, on the same episodes, in accuracy and macro-F1.

    Where rows come with class names and without, like is held against like.
    """
    rows, both = [], len({row["label_names"] for row in results if row["learner"] == "nearest_prototype"}) == 2
    for i, theirs in enumerate(results):
        if theirs["learner"] not in references:
            continue
        for ours in results[i + 1 :]:
            same = ours["k_shot"] == theirs["k_shot"] and (not both or ours["label_names"] == theirs["label_names"])
            if same and ours["learner"] != theirs["learner"]:
                row: dict[str, Any] = {
                    "learner": ours["learner"],
                    "against": theirs["learner"],
                    "k_shot": ours["k_shot"],
                    "label_names": ours["label_names"],
                }
                for metric in ("accuracy", "f1_macro"):
                    row[metric] = paired(ours["per_episode"][metric], theirs["per_episode"][metric])
                rows.append(row)
    return rows
