"""Small tasks drawn from a corpus: episode i is a function of (seed, i), so any run can be repeated or resumed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meta_text.corpus.corpus import Corpus
from meta_text.errors import CorpusError
from meta_text.wording import counted

Range = int | tuple[int, int]


@dataclass(frozen=True)
class Episode:
    """One N-way task as rows of a corpus; label n stands for class_names[n]."""

    class_names: tuple[str, ...]
    support: tuple[int, ...]  # rows
    support_labels: tuple[int, ...]
    query: tuple[int, ...]  # rows
    query_labels: tuple[int, ...]

    @property
    def n_way(self) -> int:
        return len(self.class_names)


class EpisodeSampler:
    """Draws episodes; `sampler[i]` depends on (seed, i) alone.

    n_way and k_shot are numbers or inclusive ranges. A value drawn from a range is kept for `same_shape` consecutive
    episodes, so that they stack into one batch. A share `hard` of the episodes draws its classes among the
    2 n_way most similar to one of them, by words. The corpora of a mixture are drawn equally often; consecutive
    episodes share the corpus too, and n_way is limited to the number of classes in its tasks.
    Raises CorpusError if no corpus has enough classes in all of its tasks, or a class has too few texts.
    """

    def __init__(
        self,
        corpus: Corpus,
        class_names: Sequence[str],
        *,
        n_way: Range = 5,
        k_shot: Range = 5,
        n_query: int = 5,
        seed: int = 0,
        same_shape: int = 1,
        hard: float = 0.0,
    ) -> None:
        self.corpus = corpus
        self.n_way, self.k_shot = _as_range("n_way", n_way, least=2), _as_range("k_shot", k_shot, least=1)
        self.n_query, self.seed, self.same_shape = n_query, seed, same_shape
        if not 0 <= hard <= 1:
            raise CorpusError(f"hard={hard}; a share of episodes from 0 to 1 is needed")
        self.hard = hard
        if n_query < 1:
            raise CorpusError(f"n_query={n_query}; at least 1 query per class is needed")
        self.corpora = self._corpora(class_names)

    @property
    def pools(self) -> list[list[str]]:
        """Classes that may be in the same episode: one list, or one per task of the corpus."""
        return [pool for pools in self.corpora for pool in pools]

    def _corpora(self, class_names: Sequence[str]) -> list[list[list[str]]]:
        """Classes that may be in the same episode, by corpus; one corpus unless it is a mixture."""
        if shortage := too_few_texts(self.corpus, class_names, self.k_shot[1], self.n_query):
            raise CorpusError(shortage)
        origins, groups = self.corpus.origins, self.corpus.groups
        pools: dict[str, dict[str, list[str]]] = {}
        for class_name in class_names:
            index = self.corpus.class_index(class_name)
            of_corpus = pools.setdefault(origins[index] if origins else "", {})
            of_corpus.setdefault(groups[index] if groups else "", []).append(class_name)
        if not pools:
            raise CorpusError(f"no class of '{self.corpus.name}' in this part; the class split leaves it empty")
        if all(min(map(len, of_corpus.values())) < self.n_way[1] for of_corpus in pools.values()):
            group, pool = min(next(iter(pools.values())).items(), key=lambda task: len(task[1]))
            where = f"task '{group}'" if group else f"this part of '{self.corpus.name}'"
            raise CorpusError(
                f"{where} has {counted(len(pool), 'class', 'classes')} but n_way={self.n_way[1]}; lower n_way or add classes"
            )
        return [list(of_corpus.values()) for of_corpus in pools.values()]

    def __getitem__(self, index: int) -> Episode:
        shape = np.random.default_rng([self.seed, 0, index // self.same_shape])
        pools = self.corpora[shape.integers(len(self.corpora))]
        n_way = min(int(shape.integers(self.n_way[0], self.n_way[1] + 1)), *map(len, pools))
        k_shot = int(shape.integers(self.k_shot[0], self.k_shot[1] + 1))
        rng = np.random.default_rng([self.seed, 1, index])
        pool = pools[rng.integers(len(pools))]
        near = list(range(len(pool)))
        if self.hard and rng.random() < self.hard:
            near = self._neighbours[pool[0]][rng.integers(len(pool))][: 2 * n_way]
        chosen = tuple(pool[near[i]] for i in rng.permutation(len(near))[:n_way])
        support: list[tuple[int, int]] = []
        query: list[tuple[int, int]] = []
        for label, class_name in enumerate(chosen):
            rows = self.corpus.rows_of(class_name)
            drawn = rng.choice(len(rows), size=k_shot + self.n_query, replace=False)
            support += [(rows[i], label) for i in drawn[:k_shot]]
            query += [(rows[i], label) for i in drawn[k_shot:]]
        # nothing downstream may rely on "sorted by class"
        support = [support[i] for i in rng.permutation(len(support))]
        return _episode(chosen, support, query)

    @cached_property
    def _neighbours(self) -> dict[str, list[list[int]]]:
        """First class of each pool -> for each class of the pool, all of its classes, nearest (itself) first.

        Nearness is the cosine between TF-IDF vectors of the classes' joined texts: no model is needed.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        by_first = {}
        for pool in self.pools:
            texts = [" ".join(self.corpus.texts[row] for row in self.corpus.rows_of(name)) for name in pool]
            vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)
            similar = (vectors @ vectors.T).toarray()
            by_first[pool[0]] = np.argsort(-similar, axis=1, kind="stable").tolist()
        return by_first

    def take(self, start: int, count: int) -> list[Episode]:
        return [self[i] for i in range(start, start + count)]


def too_few_texts(corpus: Corpus, class_names: Sequence[str], k_shot: int, n_query: int) -> str | None:
    """A message that names every class with fewer than k_shot + n_query texts and what would work, or None."""
    counts = {name: len(corpus.rows_of(name)) for name in class_names}
    short = {name: count for name, count in counts.items() if count < k_shot + n_query}
    if not short:
        return None
    needed = f"k_shot={k_shot} and n_query={n_query} need {k_shot + n_query}"
    (first, count), *others = short.items()
    message = f"class '{first}' has {counted(count, 'text')} but {needed}"
    if others:
        listed = ", ".join(f"'{name}' has {count}" for name, count in list(short.items())[:10])
        more = f" and {len(short) - 10} more" if len(short) > 10 else ""
        message = f"{len(short)} classes have fewer texts than {needed}: {listed}{more}"
    return f"{message}; {_shape_that_works(min(short.values()), k_shot)}"


def _shape_that_works(fewest: int, k_shot: int) -> str:
    if fewest > k_shot:
        return f"lower n_query (--set episode.n_query={fewest - k_shot} works) or drop rare classes"
    if fewest > 1:
        shape = f"--set episode.k_shot={fewest - 1} --set episode.n_query=1"
        return f"lower k_shot and n_query ({shape} works) or drop rare classes"
    return "drop these classes or give them more texts: each needs at least one support and one query text"


def given_episodes(corpus: Corpus, class_names: Sequence[str]) -> list[Episode]:
    """One episode per task for corpora that fix their support: partition "train" is support, "test" is query.

    Empty if the corpus has no `partition` field or no task. Texts of other partitions are not used.
    """
    partition = corpus.fields.get("partition")
    if partition is None or corpus.groups is None:
        return []
    origins = corpus.origins or ("",) * len(corpus.class_names)
    tasks: dict[tuple[str, str], list[str]] = {}
    for class_name in class_names:
        index = corpus.class_index(class_name)
        tasks.setdefault((origins[index], corpus.groups[index]), []).append(class_name)
    episodes = []
    for (_, group), names in tasks.items():
        labelled = [(row, label) for label, name in enumerate(names) for row in corpus.rows_of(name)]
        support = [pair for pair in labelled if partition[pair[0]] == "train"]
        query = [pair for pair in labelled if partition[pair[0]] == "test"]
        if not support or not query:
            lacking = "test" if support else "train"
            raise CorpusError(f"task '{group}' has no text with partition '{lacking}'; train and test are needed")
        episodes.append(_episode(tuple(names), support, query))
    return episodes


def _episode(names: tuple[str, ...], support: list[tuple[int, int]], query: list[tuple[int, int]]) -> Episode:
    rows, labels = zip(*support, strict=True)
    query_rows, query_labels = zip(*query, strict=True)
    return Episode(names, rows, labels, query_rows, query_labels)


def _as_range(name: str, value: Range | Sequence[int], least: int) -> tuple[int, int]:
    low, high = (value, value) if isinstance(value, int) else tuple(value)
    if not least <= low <= high:
        raise CorpusError(
            f"{name}={value}; a number of at least {least}, or a range [low, high] of such numbers, is needed"
        )
    return low, high


def batches(episodes: Sequence[Episode], size: int) -> Iterator[Sequence[Episode]]:
    """Consecutive episodes of equal shape, at most `size` together."""
    start = 0
    for end in range(1, len(episodes) + 1):
        full = end - start == size
        if end == len(episodes) or full or _shape(episodes[end]) != _shape(episodes[start]):
            yield episodes[start:end]
            start = end


def _shape(episode: Episode) -> tuple[int, int, int]:
    return episode.n_way, len(episode.support), len(episode.query)
