"""Oracles of the calibration: temperature against SciPy's optimum, thresholds against plain quantiles."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from test_classifier import MODEL

from meta_text.corpus.corpus import Corpus
from meta_text.model.calibration import RATES, Calibration
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.training import calibrate as fitting
from meta_text.training.calibrate import calibrate
from meta_text.training.shapes import Shape

SHAPES = [(2, 1.0), (5, 1.0), (5, 5.0), (10, 5.0), (20, 10.0)]


def drawn(temperature: float, n_way: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from their softmax at this temperature."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(count, n_way))
    noise = rng.gumbel(size=logits.shape)
    return torch.tensor(logits), torch.tensor((logits / temperature + noise).argmax(1))


def terms_of_shapes() -> list[torch.Tensor]:
    rows = [[1, math.log(n), math.log(1 + k), math.log(n) * math.log(1 + k)] for n, k in SHAPES]
    return [torch.tensor([row], dtype=torch.float64) for row in rows]


def test_oracle_temperature_is_that_of_scipy() -> None:
    pairs = [drawn(0.5 + i, n, 60, i) for i, (n, _) in enumerate(SHAPES)]
    terms = [np.array([1, math.log(n), math.log(1 + k), math.log(n) * math.log(1 + k)]) for n, k in SHAPES]

    def objective(weights: np.ndarray) -> float:
        losses = []
        for (logits, labels), term in zip(pairs, terms, strict=True):
            scaled = log_softmax(logits.numpy() / math.exp(weights @ term), axis=1)
            losses.append(-scaled[np.arange(len(labels)), labels.numpy()].mean())
        return float(np.mean(losses) + 1e-4 * (weights**2).sum())

    expected = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    found = fitting.fit_temperature([p[0] for p in pairs], [p[1] for p in pairs], terms_of_shapes())
    assert objective(np.array(found)) == pytest.approx(objective(expected.x), abs=1e-6)
    np.testing.assert_allclose(found, expected.x, atol=2e-2)


def test_oracle_a_shape_that_counts_twice_is_a_shape_given_twice() -> None:
    pairs, terms = [drawn(0.5 + i, n, 60, i) for i, (n, _) in enumerate(SHAPES)], terms_of_shapes()
    logits, labels = [p[0] for p in pairs], [p[1] for p in pairs]
    found = fitting.fit_temperature(logits, labels, terms, [2, 1, 1, 1, 1])
    twice = fitting.fit_temperature([logits[0], *logits], [labels[0], *labels], [terms[0], *terms])
    np.testing.assert_allclose(found, twice, atol=1e-3)
    assert not np.allclose(found, fitting.fit_temperature(logits, labels, terms), atol=1e-2)


def test_the_temperature_that_labels_were_drawn_at_is_found() -> None:
    pairs = [drawn(2.0, n, 4000, i) for i, (n, _) in enumerate(SHAPES)]
    weights = fitting.fit_temperature([p[0] for p in pairs], [p[1] for p in pairs], terms_of_shapes())
    for n_way, shots in SHAPES:
        assert Calibration(weights).temperature_at(n_way, shots) == pytest.approx(2.0, rel=0.1)


def fitted_to(likeness: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """`calibrate` where the model's likeness on shape i is likeness[i]."""
    left = []
    for (n_way, _), values in zip(SHAPES, likeness, strict=True):
        logits, targets = drawn(1.0, n_way, len(values), 0)
        left.append(fitting.Answers(logits, likeness=values, targets=targets, left_out=None))
    monkeypatch.setattr(fitting, "_answers", lambda *_: left.pop(0))
    monkeypatch.setattr(fitting, "shapes", lambda *_: [Shape("unused", n, int(k), []) for n, k in SHAPES])
    corpus = Corpus.from_rows([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], name="unused")
    return calibrate(MODEL, EmbeddedCorpus(corpus, MODEL.embedding), [], label_names=False)


def test_oracle_thresholds_are_the_quantiles_where_the_terms_can_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scatter around 1 + ln N - 2/(1+K) for every shape: the fit has nothing to average."""
    scatter = np.random.default_rng(0).normal(size=500)
    likeness = [1 + math.log(n) - 2 / (1 + k) + scatter for n, k in SHAPES]
    found = fitted_to(likeness, monkeypatch)
    for (n_way, shots), values in zip(SHAPES, likeness, strict=True):
        for rate in RATES:
            threshold = found.threshold_at(n_way, shots, rate)
            assert threshold == pytest.approx(np.quantile(values, rate))
            assert (values < threshold).mean() == pytest.approx(rate, abs=0.002)


def test_oracle_thresholds_are_least_squares_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    likeness = [rng.normal(size=50) for _ in SHAPES]
    found = fitted_to(likeness, monkeypatch)
    design = np.array([[1, math.log(n), 1 / (1 + k), math.log(1 + k)] for n, k in SHAPES])
    for column, rate in enumerate(RATES):
        wanted = np.array([np.quantile(values, rate) for values in likeness])
        weights = np.linalg.solve(design.T @ design, design.T @ wanted)  # the normal equations
        np.testing.assert_allclose(found.thresholds[column], weights, atol=1e-6)


@pytest.mark.parametrize("count", [3, 5, 7])
def test_other_numbers_of_temperature_weights_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} temperature weights; 4 or 6 are needed"):
        Calibration(temperature=(0.0,) * count)
