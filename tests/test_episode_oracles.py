"""What an episode owes: sharing, chances and neighbours, counted by hand."""

import math
from collections import Counter
from typing import Any

import numpy as np
import oracles
import pytest

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler, batches
from meta_text.errors import CorpusError


def corpus_of(texts: dict[str, list[str]], **options: Any) -> Corpus:
    rows = [{"text": text, "label": label} for label, own in texts.items() for text in own]
    return Corpus.from_rows(rows, name="made up", **options)


TOPICS = ["red wine glass", "white wine bottle", "rose wine cork", "flat tyre car", "engine oil car", "car door lock"]
ALIKE = corpus_of({f"c{n}": [f"{topic} number {i}" for i in range(4)] for n, topic in enumerate(TOPICS)})

# where other pieces of words, or a word's count instead of its logarithm, would make other classes near
FIRST = [
    {"boat": 2, "boats": 3, "tyre": 3},
    {"boat": 3, "tired": 1, "wine": 4},
    {"boat": 1, "tired": 3, "tyre": 3, "wine": 1},
    {"tired": 6, "tyre": 1, "winery": 1},
    {"boat": 2, "tyre": 5, "winery": 1},
    {"boat": 5, "tired": 1, "tyre": 2},
]
SECOND = [
    {"boat": 1, "boats": 2, "tired": 3, "winery": 2},
    {"boats": 1, "tyre": 6, "winery": 1},
    {"tired": 4, "tyre": 2, "wine": 2},
    {"boat": 4, "wine": 4},
    {"boat": 1, "tired": 2, "tyre": 5},
    {"boat": 1, "boats": 3, "tired": 1, "wine": 3},
]


def spelt_out(classes: list[dict[str, int]]) -> Corpus:
    """Two texts per class, cut at different places, because no text may stand under two labels."""
    words = [[word for word, count in counts.items() for _ in range(count)] for counts in classes]
    return corpus_of({f"c{n}": [" ".join(own[: n + 1]), " ".join(own[n + 1 :])] for n, own in enumerate(words)})


def chances(counts: Counter, options: int, draws: int) -> None:
    """Every option as often as chance allows: within five standard deviations."""
    assert len(counts) == options
    for option, count in counts.items():
        assert abs(count - draws / options) < 5 * math.sqrt(draws / options), option


def test_classes_and_texts_are_drawn_evenly() -> None:
    drawn = EpisodeSampler(ALIKE, ALIKE.class_names, n_way=2, k_shot=1, n_query=1, seed=3).take(0, 600)
    chances(Counter(name for e in drawn for name in e.class_names), 6, 1200)
    chances(Counter(row for e in drawn for row in e.support), 24, 1200)
    chances(Counter(row for e in drawn for row in e.query), 24, 1200)


def test_a_range_is_shared_by_same_shape_neighbours_and_drawn_evenly() -> None:
    sampler = EpisodeSampler(ALIKE, ALIKE.class_names, n_way=(2, 4), k_shot=(1, 2), n_query=2, same_shape=3, seed=1)
    shapes = [(e.n_way, len(e.support) // e.n_way) for e in sampler.take(0, 900)]
    assert all(len(set(shapes[i : i + 3])) == 1 for i in range(0, 900, 3))
    chances(Counter(shapes[::3]), 6, 300)


@pytest.mark.parametrize("classes", [FIRST, SECOND], ids=["first", "second"])
def test_hard_episodes_meet_among_the_nearest_by_words(classes: list[dict[str, int]]) -> None:
    """TF-IDF of whole classes: with hard = 1, two classes are drawn among the four nearest of one of them."""
    corpus = spelt_out(classes)
    texts = [" ".join(corpus.texts[row] for row in corpus.rows_of(name)) for name in corpus.class_names]
    near = [set(np.argsort(-row, kind="stable")[:4].tolist()) for row in oracles.word_likeness(texts)]
    allowed = {frozenset((i, j)) for group in near for i in group for j in group if i != j}

    def pairs(hard: float) -> Counter:
        sampler = EpisodeSampler(corpus, corpus.class_names, n_way=2, k_shot=1, n_query=1, hard=hard)
        return Counter(frozenset(corpus.class_index(name) for name in e.class_names) for e in sampler.take(0, 400))

    assert set(pairs(1.0)) == allowed
    assert len(allowed) < 15 == len(pairs(0.0))  # of fifteen pairs not all are near
    far = sum(count for pair, count in pairs(0.5).items() if pair not in allowed)
    expected = 400 * 0.5 * (15 - len(allowed)) / 15
    assert expected > 0 and abs(far - expected) < 5 * math.sqrt(expected)


def test_a_class_needs_as_many_texts_as_the_longest_draw() -> None:
    exact = EpisodeSampler(ALIKE, ALIKE.class_names, n_way=2, k_shot=(1, 2), n_query=2)
    assert len(exact.take(0, 20)) == 20
    with pytest.raises(CorpusError, match="6 classes have fewer texts than k_shot=3 and n_query=2 need 5: 'c0' has 4"):
        EpisodeSampler(ALIKE, ALIKE.class_names, n_way=2, k_shot=(1, 3), n_query=2)
    EpisodeSampler(ALIKE, ALIKE.class_names, n_way=(2, 6), k_shot=1, n_query=1)
    with pytest.raises(CorpusError, match="this part of 'made up' has 6 classes but n_way=7; lower n_way"):
        EpisodeSampler(ALIKE, ALIKE.class_names, n_way=(2, 7), k_shot=1, n_query=1)


def test_defaults_are_five_way_five_shot_five_queries() -> None:
    many = corpus_of({f"c{n}": [f"text {n} {i}" for i in range(10)] for n in range(7)})
    episode = EpisodeSampler(many, many.class_names)[0]
    assert (episode.n_way, len(episode.support), len(episode.query)) == (5, 25, 25)
    sampler = EpisodeSampler(many, many.class_names)
    assert (sampler.seed, sampler.same_shape, sampler.hard) == (0, 1, 0.0)
    assert sampler.pools == [list(many.class_names)]
    assert [len(batch) for batch in batches(sampler.take(0, 7), 3)] == [3, 3, 1]


@pytest.mark.parametrize("name", ["n_way", "k_shot"])
def test_ends_of_a_range(name: str) -> None:
    least = {"n_way": 2, "k_shot": 1}[name]
    EpisodeSampler(ALIKE, ALIKE.class_names, **{"n_way": 2, "k_shot": 1, "n_query": 1, name: (least, least)})
    for value in (least - 1, (least - 1, 3), (3, 2)):
        with pytest.raises(CorpusError, match=rf"{name}=.*at least {least}, or a range"):
            EpisodeSampler(ALIKE, ALIKE.class_names, **{"n_way": 2, "k_shot": 1, "n_query": 1, name: value})
    for hard in (-0.01, 1.01):
        with pytest.raises(CorpusError, match="a share of episodes from 0 to 1 is needed"):
            EpisodeSampler(ALIKE, ALIKE.class_names, n_way=2, k_shot=1, n_query=1, hard=hard)
    with pytest.raises(CorpusError, match="at least 1 query per class"):
        EpisodeSampler(ALIKE, ALIKE.class_names, n_way=2, k_shot=1, n_query=0)
