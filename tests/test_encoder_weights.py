"""Oracles of the mixture: leave-one-out by really leaving out, weights by numpy, features by hand."""

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.lexical_encoder import LexicalEncoder
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.model import mixture
from meta_text.model.mixture import Prior, Space, fit_space, left_out_likelihood, weigh, weight_grid


class Numbers(SentenceEncoder):
    """Reads "1 2 3" as [1, 2, 3]."""

    def __init__(self, name: str, width: int, *, is_counts: bool = False) -> None:
        self.name, self.width, self.is_counts = name, width, is_counts

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        parts = [torch.tensor([float(number) for number in text.split()]) for text in texts]
        return Represented(parts, [False] * len(parts), [False] * len(parts))

    def digest(self) -> str:
        return self.name


def task(n_way: int, shots: int, widths: Sequence[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of which the first block tells the classes apart and the others do not."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_way), shots)
    centres = rng.normal(size=(n_way, widths[0]))
    telling = centres[labels] + 0.7 * rng.normal(size=(len(labels), widths[0]))
    noise = [rng.normal(size=(len(labels), width)) for width in widths[1:]]
    return np.hstack([telling, *noise]).astype(np.float32), labels


def softmax_log(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def really_left_out(kernel: np.ndarray, labels: np.ndarray, n_way: int, counted: np.ndarray) -> float:
    """The best summed log-likelihood, solving the ridge regression anew without each text."""
    best = -math.inf
    for ridge, scale in itertools.product(mixture.RIDGES, mixture.SCALES):
        total = 0.0
        for i in np.flatnonzero(counted):
            rest = np.delete(np.arange(len(labels)), i)
            target = np.eye(n_way)[labels[rest]]
            alpha = np.linalg.solve(kernel[np.ix_(rest, rest)] + 1 + ridge * np.eye(len(rest)), target)
            total += softmax_log(scale * ((kernel[i, rest] + 1) @ alpha))[labels[i]]
        best = max(best, total)
    return best


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def test_oracle_the_likelihood_is_that_of_texts_really_left_out() -> None:
    vectors, labels = task(3, 4, [5])
    labels[-3:] = 1  # class 2 keeps one text, which cannot be left out
    rows = unit(vectors)
    counted = np.bincount(labels, minlength=3)[labels] > 1
    assert not counted.all()
    found = left_out_likelihood(
        torch.tensor(rows @ rows.T).double(), torch.tensor(labels), 3, torch.tensor(counted)
    ).item()
    assert found == pytest.approx(really_left_out((rows @ rows.T).astype(float), labels, 3, counted), rel=1e-5)


def test_oracle_weights_are_the_mean_under_the_posterior_shrunk_to_the_prior() -> None:
    vectors, labels = task(3, 3, [4, 6], seed=1)
    blocks = [unit(vectors[:, :4]), unit(vectors[:, 4:])]
    kernels = [(rows @ rows.T).astype(float) for rows in blocks]
    counted = np.ones(len(labels), bool)
    grid = [(i / 4, 1 - i / 4) for i in range(5)]
    logs = np.array([really_left_out(a * kernels[0] + b * kernels[1], labels, 3, counted) for a, b in grid])
    posterior = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    share, before = 9 / (9 + 20), np.array([0.3, 0.7])
    expected = share * posterior @ np.array(grid) + (1 - share) * before
    found, left_out = weigh([torch.tensor(b) for b in blocks], torch.tensor(labels), 3, torch.tensor(before), 20.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    mixed = expected[0] * kernels[0] + expected[1] * kernels[1]
    hardness = -really_left_out(mixed, labels, 3, counted) / 9
    np.testing.assert_allclose(left_out.numpy(), [share * hardness, share], atol=1e-4)


def test_more_labels_move_the_weights_to_the_encoder_that_tells_classes_apart() -> None:
    found = []
    for shots in (2, 5, 20):
        vectors, labels = task(4, shots, [6, 6], seed=3)
        blocks = EncoderBlocks([Numbers("a", 6), Numbers("b", 6)])
        space = fit_space(torch.tensor(vectors), torch.tensor(labels), 4, blocks, Prior(), torch.zeros(0, 12))
        found.append(space.weights[0].item())
    assert 0.5 < found[0] < found[1] < found[2]
    assert found[2] > 0.75


def test_an_encoder_of_next_to_no_weight_gets_none_and_no_features() -> None:
    blocks = [torch.eye(4)[[0, 1, 2, 3]], torch.eye(4)[[0, 1, 2, 3]]]
    weights, _ = weigh(blocks, torch.arange(4), 4, torch.tensor([0.99, 0.01]), 30.0)
    np.testing.assert_allclose(weights.numpy(), [0.99, 0.01])  # nothing can be left out: the prior as it is
    space = Space((4, 3), torch.tensor([1.0, 0.0]), torch.ones(7), torch.zeros(7), torch.zeros(2))
    features = space(torch.arange(7.0)[None] + 1)
    np.testing.assert_allclose(features.numpy(), unit(np.array([[1.0, 2.0, 3.0, 4.0]])), rtol=1e-6)
    assert space(torch.ones(2, 7), whole=True).shape == (2, 7)


def test_small_weights_are_dropped_and_the_others_fill_up() -> None:
    vectors, labels = task(4, 30, [6, 6], seed=3)
    blocks = [torch.tensor(unit(vectors[:, :6])), torch.tensor(unit(vectors[:, 6:]))]
    weights, _ = weigh(blocks, torch.tensor(labels), 4, torch.tensor([0.95, 0.05]), 5.0)
    assert weights.tolist() == [1.0, 0.0]


def test_oracle_features_are_centred_scaled_and_weighted_blocks() -> None:
    rng = np.random.default_rng(4)
    centre, scale, text = rng.normal(size=5), np.array([1.0, 1.0, 2.0, 3.0, 1.5]), rng.normal(size=5)
    space = Space((2, 3), torch.tensor([0.25, 0.75]), torch.tensor(scale), torch.tensor(centre), torch.zeros(2))
    moved = text * scale - centre
    expected = np.concatenate([0.5 * unit(moved[:2]), math.sqrt(0.75) * unit(moved[2:])])
    np.testing.assert_allclose(space(torch.tensor(text)[None])[0].numpy(), expected, rtol=1e-6)


def test_oracle_counts_are_scaled_by_scikit_learns_inverse_document_frequency() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = np.random.default_rng(5).poisson(0.6, size=(8, 6)).astype(np.float32)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    blocks = EncoderBlocks([Numbers("plain", 2), Numbers("counts", 6, is_counts=True)])
    vectors = torch.tensor(np.hstack([np.ones((8, 2), np.float32), counts]))
    space = fit_space(vectors, labels, 2, blocks, Prior(), vectors[:0])
    np.testing.assert_allclose(space.scale[2:].numpy(), TfidfTransformer().fit(counts).idf_, rtol=1e-6)
    np.testing.assert_allclose(space.scale[:2].numpy(), 1.0)
    scaled = np.hstack([np.ones((8, 2)), TfidfTransformer(norm=None).fit_transform(counts).toarray()])
    expected = (scaled[:4].mean(0) + scaled[4:].mean(0)) / 2
    expected[2:] = [
        np.mean([scaled[rows][scaled[rows].any(1)][:, i].mean() for rows in (slice(4), slice(4, 8))])
        for i in range(2, 8)
    ]
    np.testing.assert_allclose(space.centre.numpy(), expected, rtol=1e-5)


def test_the_centre_is_the_mean_of_class_means_however_uneven() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 8.0]])
    blocks = EncoderBlocks([Numbers("a", 2)])
    space = fit_space(vectors, torch.tensor([0, 0, 0, 1]), 2, blocks, Prior(), vectors[:0])
    np.testing.assert_allclose(space.centre.numpy(), [1.0, 4.0])
    assert space.weights.tolist() == [1.0]


def test_oracle_the_centre_is_drawn_to_that_of_other_corpora_by_how_exact_it_is() -> None:
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 8.0]])
    blocks, labels = EncoderBlocks([Numbers("a", 2)]), torch.tensor([0, 0, 0, 1])
    prior = Prior(centres={"a": (10.0, -10.0), "another": (7.0,)})
    space = fit_space(vectors, labels, 2, blocks, prior, vectors[:0])
    texts = 4 / (1 / 3 + 1)  # the mean of means of 3 and 1 texts is as exact as one over 3 texts, 1.5 for each class
    expected = (texts * np.array([1.0, 4.0]) + mixture.CENTRE_TEXTS * np.array([10.0, -10.0])) / (
        texts + mixture.CENTRE_TEXTS
    )
    np.testing.assert_allclose(space.centre.numpy(), expected, rtol=1e-6)


def test_oracle_a_class_without_a_text_counts_as_one_text_for_the_centre() -> None:
    vectors, blocks = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), EncoderBlocks([Numbers("a", 2)])
    space = fit_space(vectors, torch.tensor([0, 1]), 3, blocks, Prior(centres={"a": (0.0, 0.0)}), vectors[:0])
    np.testing.assert_allclose(space.centre.numpy(), np.array([2.0, 2.0]) * 3 / (3 + mixture.CENTRE_TEXTS), rtol=1e-6)


def test_oracle_the_prior_is_asked_for_the_mean_number_of_texts_at_least_one() -> None:
    prior = Prior({"a": (0.0, 0.0, 2.0)})
    blocks, vectors = EncoderBlocks([Numbers("a", 1), Numbers("b", 1)]), torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    for n_way, shots in ((2, 1.0), (3, 1.0)):  # of three classes one has no text
        space = fit_space(vectors, torch.tensor([0, 1]), n_way, blocks, prior, vectors[:0])
        odds = (1 + shots) ** 2  # e to the power of 2 ln(1 + K)
        np.testing.assert_allclose(space.weights.numpy(), [odds / (odds + 1), 1 / (odds + 1)], rtol=1e-6)


def test_of_many_texts_those_looked_at_are_spread_evenly_from_the_first_to_the_last() -> None:
    count = 4 * mixture.MOST_TEXTS
    labels = torch.arange(count) % 2
    (kept,), kept_labels = mixture.at_most([torch.arange(float(count))[:, None]], labels)
    assert len(kept) == len(kept_labels) == mixture.MOST_TEXTS
    assert torch.equal(kept_labels, kept[:, 0].long() % 2)
    assert kept[0] == 0 and kept[-1] == count - 1  # by class: even numbers, then odd ones
    steps = kept[:, 0].diff()
    assert set(steps.tolist()) <= {
        6.0,
        8.0,
        10.0,
        *steps[mixture.MOST_TEXTS // 2 - 1 : mixture.MOST_TEXTS // 2].tolist(),
    }


def test_oracle_the_usual_centre_makes_the_mean_of_means_as_exact_as_its_count_says() -> None:
    """The variance of a mean of class means of K texts each is that of one mean of N^2 / sum(1 / K) texts."""
    rng, counts = np.random.default_rng(0), (12, 3, 1)
    means = [np.mean([rng.normal(size=k).mean() for k in counts]) for _ in range(20_000)]
    assert 1 / np.var(means) == pytest.approx(len(counts) ** 2 / sum(1 / k for k in counts), rel=0.05)


def test_texts_of_one_class_alone_say_nothing_of_the_encoders() -> None:
    vectors, labels = task(4, 6, [6, 6], seed=3)
    kept = np.r_[0:6, 6, 12, 18]  # 6-1-1-1
    blocks = [torch.tensor(unit(vectors[kept, :6])), torch.tensor(unit(vectors[kept, 6:]))]
    weights, left_out = weigh(blocks, torch.tensor(labels[kept]), 4, torch.tensor([0.3, 0.7]), 30.0)
    np.testing.assert_allclose(weights.numpy(), [0.3, 0.7])
    assert left_out.tolist() == [0, 0]


def test_an_encoder_that_cannot_read_a_text_says_nothing_of_it() -> None:
    blocks = EncoderBlocks([Numbers("a", 2), Numbers("b", 2)])
    vectors = torch.tensor([[1.0, 0.0, 3.0, 1.0], [0.0, 0.0, 1.0, 2.0], [3.0, 2.0, 5.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    prior = Prior({"a": (1.0, 0.0, 0.0)})
    space = fit_space(vectors, torch.tensor([0, 1, 2, 3]), 4, blocks, prior, vectors[:0])
    np.testing.assert_allclose(space.centre.numpy(), [2.0, 1.0, 2.5, 1.0])  # of the texts that were read
    weights = np.array([0.5 * math.e, 1.0])  # "a" read half of the texts
    np.testing.assert_allclose(space.weights.numpy(), weights / weights.sum(), rtol=1e-6)
    features = space(vectors)
    assert not features[1, :2].any() and not features[3, :2].any()
    assert features[:, 2:].any(1).all()
    none = fit_space(torch.zeros(2, 4), torch.tensor([0, 1]), 2, blocks, Prior(), vectors[:0])
    np.testing.assert_allclose(none.weights.numpy(), 0.5)


def test_blocks_that_cannot_be_read_are_zeros_where_another_encoder_reads() -> None:
    class Latin(Numbers):
        def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
            return Represented([torch.ones(2) for _ in texts], [False] * len(texts), [not t.isascii() for t in texts])

    two = EncoderBlocks([Latin("latin", 2), LexicalEncoder()]).encode(["word", "слово"])
    assert two.parts[0][:2].tolist() == [1, 1] and two.parts[1][:2].tolist() == [0, 0]
    assert two.is_unread == [False, True]
    alone = EncoderBlocks([Latin("latin", 2)]).encode(["слово"])
    assert alone.parts[0].tolist() == [1, 1] and alone.is_unread == [True]


def test_names_are_texts_only_where_no_class_has_two() -> None:
    blocks = EncoderBlocks([Numbers("a", 6), Numbers("b", 6)])
    vectors, labels = task(4, 2, [6, 6], seed=3)
    texts, given = torch.tensor(vectors), torch.tensor(labels)
    one_each = fit_space(texts[::2], given[::2], 4, blocks, Prior(), texts[1::2])
    assert one_each.left_out[1] > 0  # a name and a text of each class: each can be left out
    alone = fit_space(texts[::2], given[::2], 4, blocks, Prior(), texts[:0])
    assert alone.left_out.tolist() == [0, 0]
    assert alone.weights.tolist() == [0.5, 0.5]
    two_each = fit_space(texts, given, 4, blocks, Prior(), 100 * texts[1::2])
    without = fit_space(texts, given, 4, blocks, Prior(), texts[:0])
    assert torch.equal(two_each.centre, without.centre)


def test_oracle_the_prior_is_a_softmax_of_ways_and_shots() -> None:
    prior = Prior({"a": (0.1, 0.2, -0.3), "b": (-0.5, 0.0, 0.4)})
    terms = np.array([1, math.log(7), math.log(1 + 3)])
    logits = np.array([terms @ [0.1, 0.2, -0.3], terms @ [-0.5, 0.0, 0.4], 0.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(prior.of(["a", "b", "a stranger"], 7, 3.0).numpy(), expected, rtol=1e-12)


def test_the_grid_holds_every_quarter_once() -> None:
    grid = weight_grid(3)
    assert grid.shape == (15, 3)
    assert len({tuple(row) for row in grid.tolist()}) == 15
    np.testing.assert_allclose(grid.sum(1).numpy(), 1.0)
    assert set((4 * grid).flatten().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}


def test_weighing_is_fast_for_few_texts_and_bounded_for_many() -> None:
    def milliseconds(n_way: int, shots: int) -> float:
        vectors, labels = task(n_way, shots, [384, 384, 2048])
        blocks = EncoderBlocks([Numbers("a", 384), Numbers("b", 384), Numbers("c", 2048, is_counts=True)])
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            fit_space(torch.tensor(vectors), torch.tensor(labels), n_way, blocks, Prior(), torch.zeros(0, 2816))
            taken.append(1000 * (time.perf_counter() - started))
        return min(taken)

    assert milliseconds(5, 5) < 100  # 10 on a quiet machine
    assert milliseconds(20, 150) < 8000  # 10,000 texts look no further than these 3,000


def test_lexical_vectors_tell_apart_what_a_tokenizer_does_not_know() -> None:
    encoder = LexicalEncoder()
    texts = ["order AX-1093/7 again", "AX-1093/7 is broken", "order BZ-2210/4 again", "BZ-2210/4 is broken", ""]
    rows = torch.stack(encoder.encode(texts).parts).numpy()
    assert rows.shape == (5, encoder.width) and rows.dtype == np.float32
    assert not rows[4].any()
    alike = unit(rows[:4]) @ unit(rows[:4]).T
    assert alike[0, 1] > alike[1, 2]
    assert alike[0, 1] > alike[0, 3]
    np.testing.assert_array_equal(rows[1], encoder.encode(texts[1:2]).parts[0].numpy())


def test_oracle_a_word_that_stands_twice_counts_by_its_logarithm() -> None:
    once, twice = (LexicalEncoder().encode([text]).parts[0].numpy() for text in ("yes", "yes yes"))
    ratio = {round(float(abs(b / a)), 4) for a, b in zip(once, twice, strict=True) if a}
    assert round(math.log(3) / math.log(2), 4) in ratio


def test_counting_letters_is_not_reading_them() -> None:
    class Blind(Numbers):
        def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
            return Represented([torch.zeros(2) for _ in texts], [False] * len(texts), [True] * len(texts))

    assert EncoderBlocks([Blind("blind", 2), LexicalEncoder()]).encode(["สวัสดี"]).is_unread == [True]
    assert EncoderBlocks([LexicalEncoder()]).encode(["สวัสดี"]).is_unread == [False]
