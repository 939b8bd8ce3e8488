"""Episodes: a function of (seed, i), support and query apart, every message about too little data."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, batches, given_episodes
from meta_text.errors import CorpusError


def toy(n_classes: int = 8, texts: int = 12) -> Corpus:
    rows = [{"text": f"text {c} {i}", "label": f"class_{c}"} for c in range(n_classes) for i in range(texts)]
    return Corpus.from_rows(rows, name="toy")


def reviews() -> Corpus:
    """Three tasks of two classes; partition "dev" belongs to neither support nor query."""
    rows = [
        {"text": f"{d} {label} {part} {i}", "label": label, "domain": d, "partition": part}
        for d in "abc"
        for label in ("neg", "pos")
        for part, count in (("train", 3), ("dev", 2), ("test", 4))
        for i in range(count)
    ]
    return Corpus.from_rows(rows, name="reviews", group=("domain",))


CORPUS = toy()


@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6), n_way=st.integers(2, 8), k_shot=st.integers(1, 6))
def test_an_episode_has_the_shape_asked_for_and_right_labels(seed, index, n_way, k_shot):
    episode = EpisodeSampler(CORPUS, CORPUS.class_names, n_way=n_way, k_shot=k_shot, n_query=6, seed=seed)[index]
    assert len(set(episode.class_names)) == episode.n_way == n_way
    assert Counter(episode.support_labels) == dict.fromkeys(range(n_way), k_shot)
    assert Counter(episode.query_labels) == dict.fromkeys(range(n_way), 6)
    rows = episode.support + episode.query
    assert len(set(rows)) == len(rows)  # so support and query share no text
    for row, label in zip(rows, episode.support_labels + episode.query_labels, strict=True):
        assert CORPUS.class_names[CORPUS.labels[row]] == episode.class_names[label]


@given(seed=st.integers(0, 1000), order=st.permutations(range(6)))
def test_episode_i_is_a_function_of_seed_and_i(seed, order):
    def sampler() -> EpisodeSampler:
        return EpisodeSampler(CORPUS, CORPUS.class_names, n_way=(2, 5), k_shot=(1, 4), n_query=2, seed=seed)

    in_order = sampler().take(0, 6)
    used = sampler()
    assert {i: used[i] for i in order} == dict(enumerate(in_order))
    assert sampler().take(3, 2) == in_order[3:5]


def test_episodes_differ_by_seed_and_by_i():
    drawn = [EpisodeSampler(CORPUS, CORPUS.class_names, seed=seed)[i] for seed in range(5) for i in range(20)]
    assert len(set(drawn)) == 100


def test_every_class_and_every_text_turns_up():
    episodes = EpisodeSampler(CORPUS, CORPUS.class_names, n_way=2, k_shot=1, n_query=1).take(0, 600)
    assert {row for episode in episodes for row in episode.support} == set(range(len(CORPUS.texts)))
    assert {row for episode in episodes for row in episode.query} == set(range(len(CORPUS.texts)))
    assert {episode.class_names[0] for episode in episodes} == set(CORPUS.class_names)


def test_only_the_classes_given_are_drawn():
    names = CORPUS.class_names[:3]
    episodes = EpisodeSampler(CORPUS, names, n_way=3).take(0, 30)
    assert {name for episode in episodes for name in episode.class_names} == set(names)


def test_thinned_classes_draw_from_fewer_texts_and_the_original_stays():
    def texts(corpus, name):
        return [corpus.texts[row] for row in corpus.rows_of(name)]

    thin = CORPUS.thinned(["class_0"], most=5, seed=1)
    assert len(texts(thin, "class_0")) == 5
    assert len(texts(CORPUS, "class_0")) == 12
    assert set(texts(thin, "class_0")) < set(texts(CORPUS, "class_0"))
    assert texts(thin, "class_1") == texts(CORPUS, "class_1")
    sampler = EpisodeSampler(thin, ["class_0", "class_1"], n_way=2, k_shot=1, n_query=1)
    drawn = {row for episode in sampler.take(0, 100) for row in episode.support + episode.query}
    assert drawn == {*thin.rows_of("class_0"), *thin.rows_of("class_1")}


def test_support_is_not_sorted_by_class():
    episodes = EpisodeSampler(CORPUS, CORPUS.class_names).take(0, 10)
    assert all(list(e.support_labels) != sorted(e.support_labels) for e in episodes)


def test_ranges_are_inclusive_at_both_ends():
    episodes = EpisodeSampler(CORPUS, CORPUS.class_names, n_way=(2, 4), k_shot=(1, 3), n_query=2).take(0, 200)
    assert {e.n_way for e in episodes} == {2, 3, 4}
    assert {len(e.support) // e.n_way for e in episodes} == {1, 2, 3}
    assert all(len(set(Counter(e.support_labels).values())) == 1 for e in episodes)  # even unless asked otherwise


def test_same_shape_neighbours_stack_into_one_batch():
    sampler = EpisodeSampler(CORPUS, CORPUS.class_names, n_way=(2, 6), k_shot=(1, 5), n_query=2, same_shape=4)
    episodes = sampler.take(0, 40)
    quads = [episodes[i : i + 4] for i in range(0, 40, 4)]
    assert all(len({(e.n_way, len(e.support)) for e in quad}) == 1 for quad in quads)
    assert all(len(set(quad)) == 4 for quad in quads)
    assert len({(quad[0].n_way, len(quad[0].support)) for quad in quads}) > 3
    assert [list(b) for b in batches(episodes[:4], 4)] == [quads[0]]


def episode_of(n_way: int, n_support: int) -> Episode:
    return Episode(("x",) * n_way, (0,) * n_support, (0,) * n_support, (0,), (0,))


@given(shapes=st.lists(st.tuples(st.integers(2, 3), st.integers(1, 2)), max_size=20), size=st.integers(1, 5))
def test_batches_keep_order_equal_shapes_and_size(shapes, size):
    episodes = [episode_of(*shape) for shape in shapes]
    made = list(batches(episodes, size))
    assert [e for batch in made for e in batch] == episodes
    assert all(1 <= len(batch) <= size and len(set(batch)) == 1 for batch in made)
    for left, right in itertools.pairwise(made):  # nothing is cut without a reason
        assert len(left) == size or left[-1] != right[0]


def test_groups_never_mix():
    corpus = reviews()
    episodes = EpisodeSampler(corpus, corpus.class_names, n_way=2, k_shot=2, n_query=2).take(0, 60)
    assert {tuple(sorted(e.class_names)) for e in episodes} == {(f"{d}/neg", f"{d}/pos") for d in "abc"}


# --- support that the corpus fixes


def test_given_episodes_follow_the_partition():
    corpus = reviews()
    episodes = given_episodes(corpus, [name for name in corpus.class_names if name[0] != "b"])
    assert [e.class_names for e in episodes] == [("a/neg", "a/pos"), ("c/neg", "c/pos")]
    for episode in episodes:
        assert {corpus.fields["partition"][row] for row in episode.support} == {"train"}
        assert {corpus.fields["partition"][row] for row in episode.query} == {"test"}
        assert Counter(episode.support_labels) == {0: 3, 1: 3}
        assert Counter(episode.query_labels) == {0: 4, 1: 4}
        for row, label in zip(episode.query, episode.query_labels, strict=True):
            assert corpus.class_names[corpus.labels[row]] == episode.class_names[label]


def test_no_given_episodes_without_partition_or_tasks():
    assert given_episodes(CORPUS, CORPUS.class_names) == []
    rows = [{"text": "a", "label": "x", "partition": "train"}, {"text": "b", "label": "y", "partition": "test"}]
    assert given_episodes(Corpus.from_rows(rows, name="flat"), ["x", "y"]) == []


def test_given_episodes_need_both_partitions():
    rows = [{"text": f"{i}", "label": "xy"[i % 2], "domain": "a", "partition": "test"} for i in range(4)]
    corpus = Corpus.from_rows(rows, name="half", group=("domain",))
    with pytest.raises(CorpusError, match="task 'a' has no text with partition 'train'; train and test are needed"):
        given_episodes(corpus, corpus.class_names)


# --- bad input


def test_too_few_texts_names_the_class():
    corpus = toy(texts=6)
    with pytest.raises(
        CorpusError,
        match=r"^class 'class_0' has 6 texts but k_shot=5 and n_query=5 need 10; lower n_query "
        r"\(--set episode.n_query=1 works\) or drop rare classes$",
    ):
        EpisodeSampler(corpus, corpus.class_names[:1])
    EpisodeSampler(corpus, corpus.class_names, k_shot=1, n_query=5)[0]  # just enough
    with pytest.raises(
        CorpusError, match=r"8 classes have fewer texts than k_shot=2 and n_query=5 need 7: 'class_0' has 6, "
    ):
        EpisodeSampler(corpus, corpus.class_names, k_shot=(1, 2), n_query=5)


def test_too_few_texts_names_every_class_and_a_shape_that_works():
    sizes = [9, 3, 12, *[8] * 11]
    rows = [{"text": f"{c} {i}", "label": f"c{c:02d}"} for c, size in enumerate(sizes) for i in range(size)]
    corpus = Corpus.from_rows(rows, name="uneven")
    with pytest.raises(
        CorpusError,
        match=r"^13 classes have fewer texts than k_shot=2 and n_query=8 need 10: 'c00' has 9, 'c01' has 3, "
        r"'c03' has 8, .*'c10' has 8 and 3 more; lower n_query \(--set episode.n_query=1 works\)",
    ):
        EpisodeSampler(corpus, corpus.class_names, k_shot=2, n_query=8)
    EpisodeSampler(corpus, corpus.class_names, k_shot=2, n_query=1)
    with pytest.raises(CorpusError, match=r"\(--set episode.k_shot=2 --set episode.n_query=1 works\)"):
        EpisodeSampler(corpus, corpus.class_names)
    EpisodeSampler(corpus, corpus.class_names, k_shot=2, n_query=1)
    pair = Corpus.from_rows([{"text": f"{c} {i}", "label": c} for c in "xy" for i in range(2)], name="pair")
    with pytest.raises(CorpusError, match=r"\(--set episode.k_shot=1 --set episode.n_query=1 works\)"):
        EpisodeSampler(pair, pair.class_names, n_way=2, k_shot=2, n_query=1)
    EpisodeSampler(pair, pair.class_names, n_way=2, k_shot=1, n_query=1)
    one = Corpus.from_rows([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], name="one")
    with pytest.raises(CorpusError, match=r"2 classes have fewer.*; drop these classes or give them more texts"):
        EpisodeSampler(one, one.class_names)


@pytest.mark.parametrize(("classes", "end"), [(10, "'c09' has 1; drop"), (11, "'c09' has 1 and 1 more; drop")])
def test_ten_classes_with_too_few_texts_are_named_and_more_are_counted(classes: int, end: str):
    corpus = Corpus.from_rows([{"text": f"{c}", "label": f"c{c:02d}"} for c in range(classes)], name="rare")
    with pytest.raises(CorpusError, match=end):
        EpisodeSampler(corpus, corpus.class_names)


def test_fewer_classes_than_n_way():
    with pytest.raises(CorpusError, match="this part of 'toy' has 4 classes but n_way=5; lower n_way or add classes"):
        EpisodeSampler(CORPUS, CORPUS.class_names[:4])
    corpus = reviews()
    with pytest.raises(CorpusError, match="task 'a' has 2 classes but n_way=3"):
        EpisodeSampler(corpus, corpus.class_names, n_way=(2, 3), k_shot=1, n_query=1)


def test_unknown_class_and_no_class():
    with pytest.raises(CorpusError, match="has no class 'class_00'; did you mean 'class_0'"):
        EpisodeSampler(CORPUS, ["class_00", "class_1"], n_way=2)
    with pytest.raises(CorpusError, match="no class of 'toy' in this part"):
        EpisodeSampler(CORPUS, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_way": 1}, "n_way=1; a number of at least 2"),
        ({"k_shot": 0}, "k_shot=0; a number of at least 1"),
        ({"k_shot": (3, 2)}, r"k_shot=\(3, 2\); a number of at least 1, or a range"),
        ({"n_query": 0}, "n_query=0; at least 1 query"),
    ],
)
def test_impossible_numbers(options, message):
    with pytest.raises(CorpusError, match=message):
        EpisodeSampler(CORPUS, CORPUS.class_names, **options)
