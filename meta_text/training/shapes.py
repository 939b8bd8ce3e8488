"""Episodes of many shapes, drawn from each corpus by itself: what calibration and the prior of a mixture are fitted to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler

WAYS, SHOTS = (2, 5, 10, 20, 50, 100), (1, 2, 5, 10, 16)
LEAST = 4
SEED = 20_011


@dataclass(frozen=True)
class Shape:
    """Episodes of one corpus that have as many classes and as many texts for each."""

    corpus: str
    n_way: int
    k_shot: int
    episodes: list[Episode]


def shapes(corpus: Corpus, class_names: Sequence[str], episodes: int, shots: Sequence[int] = SHOTS) -> Iterator[Shape]:
    """For N in WAYS up to all classes of a corpus, and K in `shots` as far as there are enough texts.

    Fewer than `episodes` are drawn where an episode has more than five classes, but at least `LEAST`.
    """
    for origin, names in by_origin(corpus, class_names).items():
        pools = EpisodeSampler(corpus, names, n_way=2, k_shot=1, n_query=1).pools
        most_ways = min(map(len, pools))
        fewest = min(len(corpus.rows_of(name)) for name in names)
        for n_way in sorted({min(n, most_ways) for n in WAYS}):
            for k_shot in [k for k in shots if k < fewest] or [1]:
                n_query = min(5, fewest - k_shot)
                count = max(min(LEAST, episodes), episodes * 5 // n_way) if n_way > 5 else episodes
                sampler = EpisodeSampler(corpus, names, n_way=n_way, k_shot=k_shot, n_query=n_query, seed=SEED)
                yield Shape(origin, n_way, k_shot, sampler.take(0, count))


def by_origin(corpus: Corpus, class_names: Sequence[str]) -> dict[str, list[str]]:
    """Classes by the corpus that they come from, of which a mixture has several."""
    found: dict[str, list[str]] = {}
    for name in class_names:
        origin = corpus.origins[corpus.class_index(name)] if corpus.origins else corpus.name
        found.setdefault(origin, []).append(name)
    return found
