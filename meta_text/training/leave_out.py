"""What a recipe is worth on a corpus that it never saw: each further corpus that trains is left out of everything in turn."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from meta_text.config import EpisodeShape, Recipe
from meta_text.corpus.corpus import Corpus
from meta_text.errors import ConfigError
from meta_text.evaluation.baselines import logistic_regression, tfidf_logistic_regression
from meta_text.training.bench import Bench, draw_episodes
from meta_text.training.comparison import Tests
from meta_text.training.progress import Progress
from meta_text.training.reports import Comparison, RunContext
from meta_text.training.run import fitted, train
from meta_text.wording import counted

MOST_WAYS = 50  # classes of a left-out corpus in one episode: all, up to so many
MOST_EPISODES = 40
RIVALS = {"logistic_regression": logistic_regression, "tfidf_logistic_regression": tfidf_logistic_regression}


def leave_out(recipe: Recipe, progress: Progress | None = None, device: str | None = None) -> Comparison:
    """For each corpus of `corpus.also`: train, weigh and calibrate without it and its texts, then test on all its classes.

    Beside the learner stand logistic regressions on the same episodes; the one on vectors reads what the learner reads.
    Raises ConfigError for a recipe that trains on one corpus alone.
    """
    progress, started = progress or Progress(), time.perf_counter()
    names = recipe.corpus.also
    if len(names) < 2:
        raise ConfigError(
            f"[corpus] also names {counted(len(names), 'corpus', 'corpora')} besides the recipe's own; leaving one out in turn "
            "needs two or more, as in recipe default"
        )
    tests = [_without(recipe, name, progress, device) for name in names]
    return Comparison(
        rows=tuple(each.row for test in tests for each in test.scored),
        paired=tuple(difference for test in tests for difference in test.differences(tuple(RIVALS))),
        curves={},
        context=RunContext.of(recipe),
        total_seconds=round(time.perf_counter() - started, 1),
    )


def _without(recipe: Recipe, name: str, progress: Progress, device: str | None) -> Tests:
    """The tests on the corpus of this name after training without it; told at once, for all corpora take an hour."""
    corpus = Corpus.open(name)
    others = replace(recipe.corpus, also=tuple(other for other in recipe.corpus.also if other != name))
    rest = replace(recipe, corpus=others, evaluate=replace(recipe.evaluate, unseen=()))
    progress.message(f"without {corpus.name}:")
    bench, model, state = train(Bench.open(rest, progress, device, left_out=[corpus]))
    if recipe.corpus.texts_per_class is not None:
        corpus = corpus.thinned(corpus.class_names, recipe.corpus.texts_per_class, recipe.train.seed)
    with TemporaryDirectory() as cache:
        model, bench = fitted(model, bench.settled(Path(cache), ("validation",)))
        at = bench.of_unseen(corpus, Path(cache))
        episodes = min(recipe.evaluate.episodes, MOST_EPISODES)
        drawn = [
            draw_episodes(corpus, corpus.class_names, shape, episodes, recipe.evaluate.seed)
            for shape in _shapes(rest, corpus)
        ]
        tests = Tests(rest, drawn, corpus.name)
        for rival, predict in RIVALS.items():
            seen: dict[bool, Callable[..., list[np.ndarray]]] = {
                named: partial(predict, label_names=named) for named in recipe.learner.names_tested
            }
            tests.test(rival, seen, at)
        tests.test_model(model.recipe.learner.name, model, at, state.seconds, state.best_step)
    for scored in tests.scored:
        result = scored.row.result
        progress.message(
            f"{result.corpus}, {result.n_way}-way, {counted(result.k_shot, 'label')}: {result.learner} {100 * result.accuracy.mean:.1f} %"
        )
    return tests


def _shapes(recipe: Recipe, corpus: Corpus) -> list[EpisodeShape]:
    """All classes of the corpus at once, with as many labels each as the recipe tests and every class has texts for."""
    fewest = min(len(corpus.rows_of(name)) for name in corpus.class_names)
    n_way = min(len(corpus.class_names), MOST_WAYS)
    return [replace(shape, n_way=n_way) for shape in recipe.test_shapes() if shape.k_shot + shape.n_query <= fewest]
