"""Testing a model or a baseline on episodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meta_text.corpus.episode import Episode
from meta_text.evaluation.answers import Predictor, Scores, run_episodes, score
from meta_text.model.answer_counts import AnswerCounts
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.results import Result

BATCH_QUERIES = 2500  # most queries that are answered together, so that long test files fit in memory


@dataclass(frozen=True)
class Evaluated:
    """A result, the scores it was made from, and the answers that were counted."""

    result: Result
    scores: Scores
    counts: AnswerCounts


def evaluate_episodes(
    predict: Predictor,
    embedded: EmbeddedCorpus,
    episodes: Sequence[Episode],
    learner: str,
    *,
    label_names: bool = False,
    on_answered: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluated:
    """Test a predictor on episodes that all have the shape of the first."""
    largest = max(len(e.query) for e in episodes)
    answers = run_episodes(
        predict,
        embedded,
        episodes,
        batch_size=max(1, min(20, BATCH_QUERIES // largest)),
        on_answered=lambda done: on_answered(done, len(episodes)),
    )
    first, scores = episodes[0], score(answers)
    result = Result(
        learner=learner,
        label_names=label_names,
        n_way=first.n_way,
        k_shot=len(first.support) // first.n_way,
        n_query=len(first.query) // first.n_way,
        episodes=len(episodes),
        accuracy=scores.accuracy,
        f1_macro=scores.f1_macro,
        precision_macro=scores.precision_macro,
        recall_macro=scores.recall_macro,
        ece=scores.ece,
        auroc=scores.auroc,
        seconds=round(answers.seconds, 3),
        milliseconds_per_episode=round(1000 * answers.seconds / len(episodes), 2),
    )
    names = [episode.class_names for episode in episodes]
    return Evaluated(result, scores, AnswerCounts.of(names, answers.probabilities, answers.labels))
