"""The prior of encoders' weights: found where it is known, and what it is fitted to."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch

from meta_text.corpus.corpus import Corpus
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.given_vectors import CallableEncoder
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.mixture import Prior, prior_terms
from meta_text.training.fit_prior import Case, fit_prior, mean_centres, prior_of, weight_features
from meta_text.training.shapes import shapes


def case(corpus: str, n_way: int, shots: float, best: int, texts: int = 0, mean: Sequence[float] = (0.5, 0.5)) -> Case:
    """An episode in which accuracy falls by what is not given to the encoder `best`."""
    lost = torch.zeros(5, dtype=torch.float64)
    lost[1 - best] = 1.0
    return Case(
        corpus,
        prior_terms(n_way, float(shots)),
        texts,
        torch.ones(2, dtype=torch.float64),
        torch.tensor(mean, dtype=torch.float64),
        lost,
    )


def test_the_prior_follows_what_won_at_each_number_of_classes() -> None:
    cases = [[case("few", 2, 1, best=0)], [case("many", 50, 1, best=1)]]
    prior = prior_of(cases, ["a", "b"])
    assert prior.of(["a", "b"], 2, 1.0)[0] > 0.9
    assert prior.of(["a", "b"], 50, 1.0)[0] < 0.1
    np.testing.assert_allclose(np.sum(list(prior.logits.values()), axis=0), 0.0, atol=1e-9)


def test_every_corpus_counts_the_same_however_many_episodes_it_has() -> None:
    cases = [[case("large", 2, 1, best=0)] * 30, [case("large", 2, 5, best=0)] * 30, [case("small", 2, 1, best=1)]]
    cases += [[case("other", 2, 1, best=1)]]
    assert prior_of(cases, ["a", "b"]).of(["a", "b"], 2, 1.0)[0] < 0.5  # two corpora against one


def test_the_prior_counts_for_more_texts_where_support_sets_mislead() -> None:
    mislead = [[case("x", 2, 5, best=0, texts=10, mean=(0.0, 1.0))]]
    tell = [[case("x", 2, 5, best=0, texts=10, mean=(1.0, 0.0))], [case("y", 2, 1, best=1)]]
    assert prior_of(mislead, ["a", "b"]).texts > 2 * Prior().texts
    assert prior_of(tell, ["a", "b"]).texts < Prior().texts


def test_oracle_features_of_weights() -> None:
    found = weight_features(torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64))[0].numpy()
    expected = [0.25, 0.75, 0.0, 0.5, 0.75**0.5, 1e-3, 0.25 * 0.75, 0.0, 0.0]
    np.testing.assert_allclose(found, expected)


def two_readers() -> tuple[Corpus, EmbeddedCorpus]:
    """Texts "CLASS number", whose class the first encoder reads and the second does not."""
    rows = [{"text": f"{name} {i}", "label": name} for name in "abcdef" for i in range(12)]
    corpus = Corpus.from_rows(rows, name="letters")

    def reads(texts: Sequence[str]) -> np.ndarray:
        noise = np.array([np.random.default_rng(crc32(text.encode())).normal(size=6) for text in texts])
        return np.eye(6)[["abcdef".index(text[0]) for text in texts]] + 0.4 * noise

    def guesses(texts: Sequence[str]) -> np.ndarray:
        return np.array([np.random.default_rng(crc32(text[::-1].encode())).normal(size=6) for text in texts])

    encoders = EncoderBlocks([CallableEncoder(reads, "reads"), CallableEncoder(guesses, "guesses")])
    return corpus, EmbeddedCorpus(corpus, encoders)


def test_the_encoder_that_reads_gets_the_prior_at_one_label() -> None:
    corpus, embedded = two_readers()
    prior = fit_prior(embedded, corpus.class_names, episodes=4)
    assert prior.of(["reads", "guesses"], 5, 1.0)[0] > 0.7


def test_oracle_centres_are_means_over_corpora_of_means_over_texts() -> None:
    corpus, embedded = two_readers()
    rows = [row for name in corpus.class_names for row in corpus.rows_of(name)]
    vectors = embedded.vectors(rows).numpy()
    found = fit_prior(embedded, corpus.class_names, episodes=1).centres
    np.testing.assert_allclose(found["reads"], vectors[:, :6].mean(0), atol=1e-4)
    np.testing.assert_allclose(found["guesses"], vectors[:, 6:].mean(0), atol=1e-4)
    two = {"x": {"a": torch.tensor([1.0, 2.0])}, "y": {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([5.0])}}
    assert mean_centres(two) == {"a": (2.0, 1.0), "b": (5.0,)}


def test_shapes_are_drawn_from_each_corpus_by_itself() -> None:
    corpus, _ = two_readers()
    drawn = list(shapes(corpus, corpus.class_names, episodes=5, shots=(1, 2, 20)))
    assert [(shape.n_way, shape.k_shot) for shape in drawn] == [(2, 1), (2, 2), (5, 1), (5, 2), (6, 1), (6, 2)]
    assert all(len(shape.episodes) == (5 if shape.n_way <= 5 else 4) for shape in drawn)
    assert all(episode.n_way == shape.n_way for shape in drawn for episode in shape.episodes)
    assert {shape.corpus for shape in drawn} == {"letters"}
