"""Comparing learners with each other, and with methods that need no meta-learning, on identical episodes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from meta_text.config import LearnerConfig, Recipe
from meta_text.corpus.episode import Episode
from meta_text.evaluation.answers import Predictor, Scores, answer_with, paired
from meta_text.evaluation.baselines import BASELINES, logistic_regression
from meta_text.evaluation.results import evaluate_episodes
from meta_text.model.build import build_model
from meta_text.model.model import MetaModel
from meta_text.training.bench import Bench
from meta_text.training.progress import Progress
from meta_text.training.reports import Comparison, ComparisonRow, CurvePoint, Difference, RunContext, privileges
from meta_text.training.run import train
from meta_text.training.trainer import Trainer, TrainState

NEAREST_PROTOTYPE = "nearest_prototype"
REFERENCES = (  # the learners that differences are given against
    NEAREST_PROTOTYPE,
    "logistic_regression",
    "trained_logistic_regression",
    "protonet",
    "proto_maml",
)


def compare(
    recipe: Recipe,
    learners: Sequence[str],
    progress: Progress | None = None,
    device: str | None = None,
    references: Sequence[str] = REFERENCES,
) -> Comparison:
    """Train each learner by the same recipe; test them and the untrained baselines on identical episodes.

    Each learner has paired differences against those of `references` that come before it.

    If training changes a pretrained embedding, the recipe's own learner does that once. Every other learner starts
    from the resulting embedding and encoder, and trains the rest.
    """
    started = time.perf_counter()
    curves: dict[str, list[CurvePoint]] = {}
    progress = _recording(progress or Progress(), recipe, curves)
    shared = recipe.embedding.kind == "transformer" and recipe.embedding.train != "none"
    frozen = replace(recipe, embedding=replace(recipe.embedding, train="none")) if shared else recipe
    bench = Bench.open(frozen, progress, device)
    tests = Tests(recipe, bench.test_episodes())
    for name, baseline in BASELINES.items():
        tests.test(name, {seen: partial(baseline, label_names=seen) for seen in recipe.learner.names_tested}, bench)
    untrained = replace(frozen, learner=LearnerConfig(name="protonet", label_names=recipe.learner.label_names))
    tests.test_model(NEAREST_PROTOTYPE, build_model(untrained, bench.embedding).to(bench.embedding.device), bench)
    if shared:
        with TemporaryDirectory() as cache:
            _compare_on_one_encoder(bench.renewed(recipe), learners, tests, Path(cache))
    else:
        for name in learners:
            at, model, state = train(bench.renewed(recipe.with_learner(name)))
            tests.test_model(name, model, at, state.seconds, state.best_step)
    return Comparison(
        rows=tuple(each.row for each in tests.scored),
        paired=tuple(tests.differences(references)),
        curves=curves,
        context=RunContext.of(recipe),
        total_seconds=round(time.perf_counter() - started, 1),
    )


def _recording(progress: Progress, recipe: Recipe, curves: dict[str, list[CurvePoint]]) -> Progress:
    """The same progress, which also adds every validation of every learner to `curves`."""

    def step_trained(learner: str, state: TrainState) -> None:
        if state.step == 0:
            curves[learner] = []  # `auto` trains its candidates again
        validated = state.step % recipe.train.validate_every == 0 or state.step == recipe.train.outer_steps
        if validated and state.validation is not None:
            curves.setdefault(learner, []).append(CurvePoint(state.step, state.validation))
        progress.step_trained(learner, state)

    return replace(progress, step_trained=step_trained)


def _compare_on_one_encoder(bench: Bench, learners: Sequence[str], tests: "Tests", cache: Path) -> None:
    first, trained, state = train(bench)
    first = first.settled(cache, ("train", "validation", "test"))
    kinds = first.recipe.learner.names_tested
    regression = {seen: partial(logistic_regression, label_names=seen) for seen in kinds}
    tests.test("trained_logistic_regression", regression, first, state.seconds, state.best_step)
    for name in learners:
        if name == first.recipe.learner.name:
            tests.test_model(name, trained, first, state.seconds, state.best_step)
            continue
        recipe = first.recipe.with_learner(name)
        model = build_model(recipe, first.embedding, len(first.corpus.class_names)).to(first.embedding.device)
        model.learner.encoder.load_state_dict(trained.learner.encoder.state_dict())
        on_step = partial(first.progress.step_trained, name)
        further = Trainer(model, first.embedded, first.split, on_step=on_step).run()
        tests.test_model(name, model, first, state.seconds + further.seconds, further.best_step)


@dataclass(frozen=True)
class _Scored:
    row: ComparisonRow
    scores: Scores


class Tests:
    """Collects one scored row per learner, test and use of class names, all on the same episodes."""

    def __init__(self, recipe: Recipe, drawn: Sequence[Sequence[Episode]], corpus: str | None = None) -> None:
        self.recipe, self.drawn, self.corpus = recipe, drawn, corpus
        self.scored: list[_Scored] = []

    def test_model(
        self, name: str, model: MetaModel, at: Bench, seconds: float = 0.0, best_step: int | None = None
    ) -> None:
        kinds = model.recipe.learner.names_tested
        self.test(name, {seen: answer_with(model, label_names=seen) for seen in kinds}, at, seconds, best_step)

    def test(
        self,
        name: str,
        predictors: Mapping[bool, Predictor],
        at: Bench,
        seconds: float = 0.0,
        best_step: int | None = None,
    ) -> None:
        """predictors: by whether they see class names."""
        on_answered = partial(at.progress.episodes_tested, name)
        for label_names, predict in predictors.items():
            for episodes in self.drawn:
                evaluated = evaluate_episodes(
                    predict, at.embedded, episodes, name, label_names=label_names, on_answered=on_answered
                )
                used = privileges(self.recipe, label_names)
                result = replace(evaluated.result, corpus=self.corpus)
                row = ComparisonRow(result, round(seconds, 1), best_step, used, evaluated.counts)
                self.scored.append(_Scored(row, evaluated.scores))

    def differences(self, references: Sequence[str]) -> list[Difference]:
        """Of each reference and the learners after it, on the same episodes."""
        return _differences(self.scored, references)


def _differences(scored: Sequence[_Scored], references: Sequence[str]) -> list[Difference]:
    """Differences between each reference and the learners after it, in accuracy and macro-F1 on the same episodes.

    If there are tests with class names and without, only tests of the same kind are compared.
    """
    results = [each.row.result for each in scored]
    both = len({result.label_names for result in results if result.learner == NEAREST_PROTOTYPE}) == 2
    differences = []
    for i, theirs in enumerate(results):
        if theirs.learner not in references:
            continue
        for j, ours in enumerate(results[i + 1 :], start=i + 1):
            alike = ours.k_shot == theirs.k_shot and (not both or ours.label_names == theirs.label_names)
            if alike and ours.learner != theirs.learner:
                mine, other = scored[j].scores, scored[i].scores
                difference = Difference(
                    learner=ours.learner,
                    against=theirs.learner,
                    k_shot=ours.k_shot,
                    label_names=ours.label_names,
                    corpus=ours.corpus,
                    accuracy=paired(mine.episode_accuracies, other.episode_accuracies),
                    f1_macro=paired(mine.episode_f1s, other.episode_f1s),
                )
                differences.append(difference)
    return differences
