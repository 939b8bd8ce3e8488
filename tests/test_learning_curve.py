"""What more labels would bring: the formula against numbers worked out by hand, and the sentence in the audit."""

import math

import numpy as np
import pytest
from test_unlabelled import WAYS, drawn

from meta_text import FewShotClassifier
from meta_text.classify.learning_curve import Growth, gain, growth


def fitted(shots: int) -> FewShotClassifier:
    return FewShotClassifier(embedding="vectors", device="cpu").fit(*drawn(shots, 3))


def test_oracle_by_hand() -> None:
    assert gain(0.4, 5, 4.0) == pytest.approx(0.65 * 0.4 * (1 - 0.4 / 0.8) / 2)
    assert gain(0.3, 2, 1.0) == pytest.approx(0.65 * 0.3 * 0.4)


@pytest.mark.parametrize("error", [0.0, 0.75, 0.9])
def test_nothing_is_gained_without_errors_or_where_answers_are_as_by_chance(error: float) -> None:
    assert gain(error, 4, 8.0) == pytest.approx(0)


def test_oracle_growth_by_hand() -> None:
    right, sure = [True, True, False, True] * 2, [0.9, 0.7, 0.5, 0.7] * 2  # errors .25 and .3
    found = growth(right, sure, {"a": [0.9], "b": [0.2, 0.4], "c": [0.7], "d": [0.5]}, 2.0)
    once = 0.65 * 0.275 * (1 - 0.275 / 0.75) / math.sqrt(2)
    left = 0.275 - once
    assert found.twice == pytest.approx(100 * once)
    assert found.four_times == pytest.approx(100 * (once + 0.65 * left * (1 - left / 0.75) / 2))
    assert found.neediest == ("b", "d")


def test_of_two_classes_none_needs_labels_more() -> None:
    assert growth([True, False] * 4, [0.6] * 8, {"a": [0.6], "b": [0.4]}, 1.0).neediest == ()


@pytest.mark.parametrize(
    ("checked", "of_own"), [(8, {"a": [1.0] * 8}), (0, {"a": [], "b": []}), (7, {"a": [0.5] * 7, "b": [0.5]})]
)
def test_nothing_is_known_of_few_checked_texts_or_one_class(checked: int, of_own: dict[str, list[float]]) -> None:
    found = growth([True] * checked, [0.5] * checked, of_own, 1.0)
    assert math.isnan(found.twice) and found.sentence() == ""


def test_the_sentence() -> None:
    assert Growth(5.2, 8.6, ("card", "fraud")).sentence() == (
        "twice as many labels are expected to bring 5 points (1 to 10), four times as many 9; 'card' and 'fraud' need them most"
    )
    assert (
        Growth(2.0, 3.0, ("card",))
        .sentence()
        .endswith("bring 2 points (0 to 6), four times as many 3; 'card' needs them most")
    )
    assert Growth(2.0, 3.0).sentence().endswith("four times as many 3")


def test_the_audit_says_it() -> None:
    audit = fitted(4).audit()
    assert 0 < audit.growth.twice < audit.growth.four_times
    assert audit.growth.sentence() in audit.summary().splitlines()
    assert math.isnan(fitted(1).audit().growth.twice)


def test_a_class_whose_texts_lie_nowhere_is_the_neediest() -> None:
    texts, labels = drawn(6, 3)
    noise = np.random.default_rng(0).normal(size=texts.shape)
    classifier = FewShotClassifier(embedding="vectors", device="cpu")
    classifier.fit(np.where((labels == "b")[:, None], 2 * noise, texts), labels)
    assert classifier.audit().growth.neediest == ("b",) and WAYS == 3
