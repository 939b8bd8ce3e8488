"""The prior of encoders' weights: found where it is known, and what it is fitted to."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.given_vectors import CallableEncoder
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.mixture import Prior, mean_weights, prior_terms
from meta_text.training.fit_prior import MOST_WAYS, Case, cases_of, fit_prior, mean_centres, prior_of, weight_features
from meta_text.training.shapes import Shape, shapes


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


def two_readers(*, counts: bool = False) -> tuple[Corpus, EmbeddedCorpus]:
    """Texts "CLASS number", whose class the first encoder reads and the second does not; or it counts something."""
    rows = [{"text": f"{name} {i}", "label": name} for name in "abcdef" for i in range(12)]
    corpus = Corpus.from_rows(rows, name="letters")

    def reads(texts: Sequence[str]) -> np.ndarray:
        noise = np.array([np.random.default_rng(crc32(text.encode())).normal(size=6) for text in texts])
        return np.eye(6)[["abcdef".index(text[0]) for text in texts]] + 0.4 * noise

    def guesses(texts: Sequence[str]) -> np.ndarray:
        noise = np.array([np.random.default_rng(crc32(text[::-1].encode())).normal(size=6) for text in texts])
        return noise.clip(0.0) if counts else noise

    second = CallableEncoder(guesses, "guesses")
    second.is_counts = counts
    encoders = EncoderBlocks([CallableEncoder(reads, "reads"), second])
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


def one_case(
    k_shot: int, monkeypatch: pytest.MonkeyPatch, *, counts: bool = False
) -> tuple[EmbeddedCorpus, Episode, Case]:
    """A 4-way episode, and what it says."""
    corpus, embedded = two_readers(counts=counts)
    episode = EpisodeSampler(corpus, list(corpus.class_names), n_way=4, k_shot=k_shot, n_query=5, seed=3).take(0, 1)[0]
    drawn = [Shape("letters", 4, k_shot, [episode]), Shape("letters", MOST_WAYS + 1, k_shot, [episode])]
    monkeypatch.setattr("meta_text.training.fit_prior.shapes", lambda *_: drawn)
    [[found]] = cases_of(embedded, corpus.class_names, Prior())  # the second shape has too many classes
    return embedded, episode, found


@pytest.mark.parametrize("counts", [False, True])
def test_oracle_what_an_episode_says_of_the_weights(counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, episode, found = one_case(3, monkeypatch, counts=counts)
    labels, targets = list(episode.support_labels), list(episode.query_labels)
    known, asked = (embedded.vectors(rows).numpy().astype(float) for rows in (episode.support, episode.query))
    if counts:
        frequency = np.array([1.0] * 6 + [np.log(13 / (1 + (known[:, 6 + i] > 0).sum())) + 1 for i in range(6)])
        known, asked = known * frequency, asked * frequency
    centre = np.mean([known[[i for i, y in enumerate(labels) if y == n]].mean(0) for n in range(4)], axis=0)
    unit = [
        [(v - centre)[part] / np.linalg.norm((v - centre)[part]) for part in (slice(0, 6), slice(6, 12))]
        for v in np.concatenate([known, asked])
    ]
    grid = [(i / 10, 1 - i / 10) for i in range(11)]
    lost, features = [], []
    for weights in grid:
        kernel = np.array(
            [[1 + sum(w * (x @ y) for w, x, y in zip(weights, a, b, strict=True)) for b in unit[:12]] for a in unit]
        )
        answers = kernel[12:] @ np.linalg.inv(kernel[:12] + 0.3 * np.eye(12)) @ np.eye(4)[labels]
        lost.append(-np.mean(answers.argmax(1) == targets))
        features.append([*weights, *np.sqrt(np.maximum(weights, 1e-6)), weights[0] * weights[1]])
    expected = np.linalg.lstsq(np.array(features), np.array(lost) - min(lost), rcond=None)[0]
    np.testing.assert_allclose(np.array(features) @ found.lost.numpy(), np.array(features) @ expected, atol=1e-6)
    assert len(set(lost)) > 2  # or the weights would make no difference
    kernels = np.array([[[a[b] @ c[b] for c in unit[:12]] for a in unit[:12]] for b in range(2)])
    said = mean_weights(torch.tensor(kernels), torch.tensor(labels), 4, torch.ones(12, dtype=torch.bool))
    np.testing.assert_allclose(found.mean.numpy(), said.numpy(), atol=1e-4)
    assert (found.corpus, found.texts, found.read.tolist()) == ("letters", 12, [1.0, 1.0])
    np.testing.assert_allclose(found.terms.numpy(), [1.0, np.log(4), np.log(4)])


def test_nothing_is_said_where_no_text_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, found = one_case(1, monkeypatch)
    assert (found.texts, found.mean.tolist()) == (0, [0.0, 0.0])


def drawn_cases() -> list[list[Case]]:
    """Three corpora of 1, 2 and 3 shapes of 2 or 3 episodes; some texts that the second encoder cannot read."""
    rng, shapes_of = np.random.default_rng(5), {"x": 1, "y": 2, "z": 3}
    return [
        [
            Case(
                corpus,
                prior_terms(2 + 7 * i, 1.0 + i),
                6 * i,
                torch.tensor([1.0, 0.6 if corpus == "y" else 1.0], dtype=torch.float64),
                torch.tensor(rng.dirichlet([1, 1])),
                torch.tensor(rng.normal(size=5)),
            )
            for _ in range(2 + i % 2)
        ]
        for corpus, count in shapes_of.items()
        for i in range(count)
    ]


def test_oracle_the_prior_is_where_the_lost_accuracy_and_its_own_size_are_least() -> None:
    cases = drawn_cases()
    corpora = [shape[0].corpus for shape in cases]

    def objective(numbers: np.ndarray) -> float:
        logits, log_texts, total = numbers[:6].reshape(2, 3), numbers[6], 0.0
        for shape in cases:
            for one in shape:
                scores = np.exp(logits @ one.terms.numpy()) * one.read.numpy()
                share = one.texts / (one.texts + np.exp(log_texts))
                a, b = share * one.mean.numpy() + (1 - share) * scores / scores.sum()
                lost = one.lost.numpy() @ [a, b, a**0.5, b**0.5, a * b]
                total += lost / 3 / corpora.count(one.corpus) / len(shape)
        return float(total + 3e-4 * ((logits**2).sum() + (log_texts - np.log(30)) ** 2))

    found = prior_of(cases, ["a", "b"])
    numbers = np.array([*found.logits["a"], *found.logits["b"], np.log(found.texts)])
    best = minimize(objective, numbers, method="Nelder-Mead", options={"maxfev": 20_000, "xatol": 1e-5, "fatol": 1e-10})
    assert objective(numbers) - best.fun < 1e-4
    assert objective(np.array([0, 0, 0, 0, 0, 0, np.log(30)])) - best.fun > 0.05  # so there was something to find
