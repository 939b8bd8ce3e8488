"""Metrics and calibration against the twins in oracles.py."""

import math
from dataclasses import asdict

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta_text import MetaTextError
from meta_text.evaluation.answers import paired
from meta_text.evaluation.metrics import EpisodeAccuracy, EpisodeF1, ExpectedCalibrationError, mean_interval
from meta_text.model.calibration import (
    RATES,
    Calibration,
    Calibrations,
    check_rate,
    temperature_terms,
    threshold_terms,
)

PREDICTIONS = [[0, 1, 2, 1], [2, 2, 0, 1], [1, 1, 1, 1]]
REFERENCES = [[0, 1, 1, 1], [2, 0, 0, 1], [0, 1, 2, 2]]


def test_accuracy_over_episodes() -> None:
    each = [
        sum(p == r for p, r in zip(ps, rs, strict=True)) / 4 for ps, rs in zip(PREDICTIONS, REFERENCES, strict=True)
    ]
    result = EpisodeAccuracy().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert result["per_episode"] == each == [0.75, 0.75, 0.25]
    mean, width = oracles.mean_interval(each)
    assert result["accuracy"] == pytest.approx({"mean": mean, "ci95": width})


def test_macro_scores_over_episodes() -> None:
    """The classes of an episode are those that are there or were answered."""
    rows = [oracles.macro_scores(ps, rs, sorted({*ps, *rs})) for ps, rs in zip(PREDICTIONS, REFERENCES, strict=True)]
    result = EpisodeF1().compute(predictions=PREDICTIONS, references=REFERENCES)
    for name, column in zip(("precision_macro", "recall_macro", "f1_macro"), zip(*rows, strict=True), strict=True):
        mean, width = oracles.mean_interval(column)
        assert result[name] == pytest.approx({"mean": mean, "ci95": width}), name
    assert result["per_episode"] == pytest.approx([row[2] for row in rows])
    assert len({round(result[name]["mean"], 6) for name in ("precision_macro", "recall_macro", "f1_macro")}) == 3


@given(
    scores=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
def test_expected_calibration_error(scores: list[list[float]], seed: int) -> None:
    rows = np.array([[v + 0.01 for v in row] for row in scores])
    probabilities = rows / rows.sum(1, keepdims=True)
    labels = np.random.default_rng(seed).integers(0, 3, len(rows)).tolist()
    ours = ExpectedCalibrationError().compute(predictions=[probabilities.tolist()], references=[labels])
    assert ours["ece"] == pytest.approx(oracles.expected_calibration_error(probabilities, labels), abs=1e-9)


@pytest.mark.parametrize(
    ("right", "wrong"), [pytest.param(0.06, 0.1, id="lowest"), pytest.param(0.99, 0.92, id="highest")]
)
def test_the_outermost_bins_of_the_calibration_error_stay_apart(right: float, wrong: float) -> None:
    """Gaps of opposite sign in neighbouring bins must not cancel, as they would in one bin."""
    rows = [[value, *[(1 - value) / 19] * 19] for value in (right, wrong)]
    ours = ExpectedCalibrationError().compute(predictions=[rows], references=[[0, 1]])
    assert ours["ece"] == pytest.approx(((1 - right) + wrong) / 2)


def test_expected_calibration_error_by_hand() -> None:
    """Certain and right, certain and wrong, at the edge of a bin; two episodes are one pool."""
    predictions, references = [[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.4]]], [[0, 0], [0]]
    ours = ExpectedCalibrationError().compute(predictions=predictions, references=references)
    assert ours["ece"] == pytest.approx((2 * abs(0.5 - 1) + abs(1 - 0.6)) / 3)
    flat = ExpectedCalibrationError().compute(predictions=[[[1 / 15] * 15]], references=[[3]])
    assert flat["ece"] == pytest.approx(1 / 15)  # the first bin is the lowest
    parted = ExpectedCalibrationError().compute(predictions=[[[0.5, 0.5], [0.55, 0.45]]], references=[[0, 1]])
    assert parted["ece"] == pytest.approx((0.5 + 0.55) / 2)  # 0.5 and 0.55 lie in different bins of 15
    together = ExpectedCalibrationError().compute(predictions=[[[0.54, 0.46], [0.6, 0.4]]], references=[[0, 1]])
    assert together["ece"] == pytest.approx(abs(0.54 + 0.6 - 1) / 2)  # and 0.54 and 0.6 in the same


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_mean_interval(values: list[float]) -> None:
    mean, width = oracles.mean_interval(values)
    assert asdict(mean_interval(values)) == pytest.approx({"mean": mean, "ci95": width}, abs=1e-9)


def test_paired_differences() -> None:
    first, second = [0.9, 0.5, 0.7], [0.4, 0.6, 0.7]
    mean, width = oracles.mean_interval([0.5, -0.1, 0.0])
    assert asdict(paired(first, second)) == pytest.approx({"mean": mean, "ci95": width})


# calibration

WEIGHTS = (0.3, -0.2, 0.5, 0.1)
CALIBRATION = Calibration(WEIGHTS, tuple((0.1 * i, 0.02 * i, -0.3, 0.07) for i in range(1, 6)))


@pytest.mark.parametrize(("n_way", "shots"), [(2, 1.0), (5, 0.5), (20, 7.0), (3, 0.0)])
def test_temperature_at(n_way: int, shots: float) -> None:
    n, k = math.log(n_way), math.log(1 + shots)
    expected = math.exp(0.3 - 0.2 * n + 0.5 * k + 0.1 * n * k)
    assert CALIBRATION.temperature_at(n_way, shots) == pytest.approx(expected)
    assert temperature_terms(n_way, shots) == pytest.approx((1, n, k, n * k, 0, 0))
    assert temperature_terms(n_way, shots, (0.5, 0.25)) == pytest.approx((1, n, k, n * k, 0.5, 0.25))
    assert threshold_terms(n_way, shots) == pytest.approx((1, n, 1 / (1 + shots), k))
    assert Calibration().temperature_at(n_way, shots) == 1


def threshold(n_way: int, shots: float, i: int) -> float:
    """At RATES[i], from the weights above."""
    return 0.1 * (i + 1) + 0.02 * (i + 1) * math.log(n_way) - 0.3 / (1 + shots) + 0.07 * math.log(1 + shots)


@pytest.mark.parametrize("rate", [0.01, 0.013, 0.02, 0.05, 0.17, 0.2])
@pytest.mark.parametrize("corrections", [(), (0.1, 0.0, -0.2, 0.05, 0.3)])
def test_threshold_at(rate: float, corrections: tuple[float, ...]) -> None:
    at = [threshold(4, 3.0, i) + (corrections[i] if corrections else 0) for i in range(5)]
    expected = oracles.between(rate, (0.01, 0.02, 0.05, 0.1, 0.2), at)
    assert CALIBRATION.threshold_at(4, 3.0, rate, corrections) == pytest.approx(expected)


def lowered(quantiles: list[float], spread: float) -> list[float]:
    """By three quarters of a standard deviation."""
    return [quantile - 0.75 * spread for quantile in quantiles]


def taught(n_way: int, shots: float) -> list[float]:
    """The thresholds that other tasks taught, lowered by their own spread."""
    at = [threshold(n_way, shots, i) for i in range(5)]
    return lowered(at, (at[4] - at[2]) / (1.6449 - 0.8416))  # the 5 % and 20 % quantiles of a normal distribution


@pytest.mark.parametrize("texts", [0, 1, 30])
@pytest.mark.parametrize(("shots", "as_even"), [(1.0, None), (5.0, None), (8.0, 5.5), (8.0, 4.9)])
def test_corrections(texts: int, shots: float, as_even: float | None) -> None:
    """From what other tasks taught towards a task's own quantiles, n of 30 more; uneven classes as an even task."""
    likeness = np.random.default_rng(0).normal(size=texts)
    expected = taught(6, as_even or shots)
    if texts:
        own = [oracles.quantile(likeness.tolist(), rate) for rate in (0.01, 0.02, 0.05, 0.1, 0.2)]
        deviation = math.sqrt(sum((x - likeness.mean()) ** 2 for x in likeness) / texts)
        pairs = zip(expected, lowered(own, deviation), strict=True)
        expected = [(30 * before + texts * after) / (texts + 30) for before, after in pairs]
    expected = [after - threshold(6, shots, i) for i, after in enumerate(expected)]
    assert CALIBRATION.corrections(6, shots, likeness, as_even) == pytest.approx(tuple(expected), abs=1e-3)


def test_without_thresholds_there_is_nothing_to_correct() -> None:
    assert Calibration().corrections(6, 5.0, np.zeros(30)) == ()


def test_rates_and_shapes_of_thresholds() -> None:
    assert RATES == (0.01, 0.02, 0.05, 0.1, 0.2)
    for rate in (0.01, 0.05, 0.2, np.float32(0.05)):
        check_rate(rate)
    for rate in (0.0099, 0.2001, 0, 1, "0.05", None, float("nan")):
        with pytest.raises(MetaTextError, match=r"reject=.*a false-reject rate from 0.01 to 0.2 is needed"):
            check_rate(rate)
    for thresholds in (((0.0,) * 4,) * 4, ((0.0,) * 3,) * 5, ((0.0,) * 4,) * 6):
        with pytest.raises(ValueError, match="5 thresholds of 4 weights each are needed"):
            Calibration(thresholds=thresholds)
    with pytest.raises(ValueError, match="no thresholds for 'none of these'"):
        Calibration().threshold_at(5, 5.0, 0.05)
    with pytest.raises(MetaTextError, match="a false-reject rate"):
        CALIBRATION.threshold_at(5, 5.0, 0.5)


def test_calibrations_of_both_kinds() -> None:
    both = Calibrations(CALIBRATION, Calibration(temperature=(1.0, 0.0, 0.0, 0.0)))
    assert both.of(False) is CALIBRATION
    assert both.of(True) is both.names
    assert Calibrations(CALIBRATION).of(True) == Calibration()
