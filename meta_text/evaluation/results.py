"""What a test says: scores with intervals, and all that a reader needs to repeat it."""

from collections.abc import Callable, Sequence
from typing import Any

from meta_text.corpus.episode import Episode
from meta_text.evaluation.answers import Predictor, run_episodes, score
from meta_text.model.embedded_corpus import EmbeddedCorpus

BATCH_QUERIES = 2500  # queries adapted to and answered together, so that long test files fit in memory


def evaluate_episodes(
    predict: Predictor,
    embedded: EmbeddedCorpus,
    episodes: Sequence[Episode],
    learner: str,
    *,
    label_names: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Scores of whatever answers the given episodes, with what a reader needs to repeat them."""
    largest = max(len(e.query) for e in episodes)
    answers = run_episodes(
        predict,
        embedded,
        episodes,
        batch_size=max(1, min(20, BATCH_QUERIES // largest)),
        progress=lambda done: progress(done, len(episodes)),
    )
    first = episodes[0]
    return {
        "learner": learner,
        "label_names": label_names,
        "n_way": first.n_way,
        "k_shot": len(first.support) // first.n_way,
        "n_query": len(first.query) // first.n_way,
        "episodes": len(episodes),
        **score(answers),
        "seconds": round(answers.seconds, 3),
        "milliseconds_per_episode": round(1000 * answers.seconds / len(episodes), 2),
    }


def without_episodes(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "per_episode"}
