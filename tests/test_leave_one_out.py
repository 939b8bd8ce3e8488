"""An adapted model and its audit, counted again by loops over fresh adaptations."""

import math
import re

import numpy as np
import oracles
import pytest
import torch
from test_classifier import CALIBRATION, TEXTS, small_model

from meta_text.classify.answers import details
from meta_text.classify.audit import Audit, audit, wilson
from meta_text.model.adaptation import Adaptation
from meta_text.model.calibration import Calibration

MODEL = small_model("protonet")
SUPPORT = {
    "wine": [*TEXTS[:3], "low tyre wine"],
    "car": [*TEXTS[3:], "white wine again"],
    "boat": ["sail and mast", "red mast"],
}
ASKED = ["red wine low", "tyre", "sail the red mast", "nothing at all"]


def adapted(support: dict[str, list[str]] = SUPPORT, names: list[str] | None = None) -> Adaptation:
    return Adaptation.learn(MODEL, CALIBRATION, support, names)


def features(texts: list[str]) -> np.ndarray:
    return np.stack([part.double().numpy() for part in MODEL.represent(texts)[0]])


def units(texts: list[str]) -> np.ndarray:
    rows = features(texts)
    return np.array([row / math.sqrt(row @ row) for row in rows])


# the task


@pytest.mark.parametrize("names", [None, ["a red wine", "a fast car", "a boat"]])
def test_probabilities_are_a_tempered_softmax_over_distances(names: list[str] | None) -> None:
    task = adapted(names=names)
    texts = [text for given in task.support.values() for text in given]
    labels = [i for i, given in enumerate(task.support.values()) for _ in given]
    worth = MODEL.learner.log_name_weight.exp().item() if names else 0.0
    centres = oracles.prototypes(features(texts), labels, 3, features(names) if names else None, worth)
    excess = oracles.length_excess(features(texts), labels, 3, worth)
    apart = oracles.squared_distances(features(ASKED), centres) - excess
    parts = MODEL.represent(ASKED)[0]
    scale = MODEL.learner.log_scale.exp().item()
    expected = oracles.softmax(-scale * apart / math.exp(0.1))  # the temperature of CALIBRATION
    np.testing.assert_allclose(task.probabilities(task.score(parts)), expected, atol=1e-5)
    np.testing.assert_allclose(task.likeness(parts), 1 - apart.min(1), atol=1e-5)
    assert task.shots == pytest.approx(10 / 3) and task.n_way == 3 and task.n_cut == 0
    at = task.calibration.threshold_at(3, 10 / 3, 0.05, task.corrections)
    assert task.is_known(parts, 0.05).tolist() == (task.likeness(parts) >= at).tolist()


def test_nothing_asked_is_nothing_answered() -> None:
    task = adapted()
    assert task.score([]).shape == (0, 3)
    assert task.likeness([]).shape == (0,)


def test_large_scores_do_not_overflow() -> None:
    row = adapted().probabilities(torch.tensor([[1e5, 0.0, -1e5]]))
    assert row.tolist() == [[1.0, 0.0, 0.0]]


def test_texts_are_read_once_and_whoever_watches_is_told() -> None:
    support = {"a": [f"wine {i}" for i in range(300)], "b": [f"tyre {i}" for i in range(300)]}
    seen: list[tuple[int, int]] = []
    first = Adaptation.learn(MODEL, CALIBRATION, support, None, progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == (600, 600)
    seen.clear()
    more = {**support, "a": [*support["a"], "one more"]}
    again = Adaptation.learn(MODEL, CALIBRATION, more, None, first, lambda *at: seen.append(at))
    assert seen == [(1, 1)]
    fresh = Adaptation.learn(MODEL, CALIBRATION, more, None)
    torch.testing.assert_close(again.task["head"], fresh.task["head"])
    other = Adaptation.learn(small_model("protonet"), CALIBRATION, more, None, first, lambda *at: seen.append(at))
    assert seen[-1] == (601, 601)  # another model reads for itself
    assert other.features.keys() == fresh.features.keys()


def test_without_a_text_is_as_if_it_had_never_been_given() -> None:
    task = adapted()
    for label, texts in SUPPORT.items():
        for text in texts:
            fresh = adapted({**SUPPORT, label: [one for one in texts if one != text]})
            torch.testing.assert_close(task.without(label, text).task["head"], fresh.task["head"])


def test_a_copy_under_another_label_goes_too_unless_it_is_all_that_is_there() -> None:
    twice = adapted({"a": ["red wine", "dry wine", "wine"], "b": ["RED  wine", "tyre"], "c": ["red wine"]})
    rest = twice.without("a", "red wine").support
    assert {label: set(texts) for label, texts in rest.items()} == {
        "a": {"dry wine", "wine"},
        "b": {"tyre"},
        "c": {"red wine"},
    }
    named = Adaptation.learn(MODEL, CALIBRATION, twice.support, ["x", "y", "z"])
    assert named.without("a", "red wine").support["c"] == ()


@pytest.mark.parametrize("names", [None, ["a red wine", "a fast car"]])
@pytest.mark.parametrize("cars", [6, 9])
def test_a_tasks_own_texts_correct_its_thresholds(cars: int, names: list[str] | None) -> None:
    """From those of the even task towards quantiles of what its texts are like without themselves, both lowered."""
    wine, car = ([f"{text} {word}" for text in given for word in "abc"] for given in (TEXTS[:2], TEXTS[3:]))
    support = {"wine": wine, "car": car[:cars]}
    thresholds = tuple((0.1 * i, 0.02, -0.3, 0.07) for i in range(5))
    task = Adaptation.learn(MODEL, Calibration(thresholds=thresholds), support, names)
    assert ("excess" in task.task) == (cars > 6)
    texts = [text for given in task.support.values() for text in given]
    labels = [n for n, given in enumerate(task.support.values()) for _ in given]
    worth = MODEL.learner.log_name_weight.exp().item() if names else 0.0
    alike = oracles.likeness_without_itself(
        features(texts), texts, labels, 2, features(names) if names else None, worth
    )
    shots, as_even = len(texts) / 2, oracles.even_shots([len(given) for given in support.values()], worth)

    def threshold(i: int, count: float) -> float:
        return 0.1 * i + 0.02 * math.log(2) - 0.3 / (1 + count) + 0.07 * math.log(1 + count)

    mean = sum(alike) / len(alike)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in alike) / len(alike))
    taught = (
        threshold(4, as_even) - threshold(2, as_even)
    ) / 0.8033  # from the 5 % to the 20 % quantile of a normal one
    expected = []
    for i, rate in enumerate((0.01, 0.02, 0.05, 0.1, 0.2)):
        own = oracles.quantile(alike, rate) - 0.75 * deviation
        other = threshold(i, as_even) - 0.75 * taught
        expected.append((len(texts) * own + 30 * other) / (len(texts) + 30) - threshold(i, shots))
    np.testing.assert_allclose(task.corrections, expected, atol=1e-4)


def test_names_alone_are_the_prototypes_of_a_learner_that_reads_tokens_too() -> None:
    model, names = small_model("proto_maml"), ["a red wine", "a fast car", "a boat"]
    assert model.learner.needs_tokens
    task = Adaptation.learn(model, CALIBRATION, {"wine": [], "car": [], "boat": []}, names)
    read = small_model("protonet").represent([*names, *ASKED])[0]
    x = np.stack([part.double().numpy() for part in read])
    apart = oracles.squared_distances(x[3:], x[:3])
    np.testing.assert_allclose(task.task["prototypes"].detach().numpy(), x[:3], atol=1e-6)
    np.testing.assert_allclose(task.likeness(model.represent(ASKED)[0]), 1 - apart.min(1), atol=1e-5)


# the audit


@pytest.mark.parametrize("names", [None, ["a red wine", "a fast car", "a boat"]])
def test_the_audit_asks_a_fresh_task_about_each_text_in_turn(names: list[str] | None) -> None:
    result = audit(adapted(names=names))
    right, doubts, skipped = [], [], 0
    for column, (label, texts) in enumerate(SUPPORT.items()):
        if len(texts) < 3 and names is None:
            skipped += len(texts)
            continue
        for text in texts:
            rest = adapted({**SUPPORT, label: [one for one in texts if one != text]}, names)
            row = rest.probabilities(rest.score(MODEL.represent([text])[0]))[0]
            right.append(row.argmax() == column)
            if row.argmax() != column:
                doubts.append((text, label, list(SUPPORT)[row.argmax()], row.max()))
    assert (result.checked, result.skipped) == (len(right), skipped)
    assert skipped == (2 if names is None else 0)
    assert result.accuracy == pytest.approx(sum(right) / len(right))
    assert (result.low, result.high) == pytest.approx(oracles.wilson(sum(right) / len(right), len(right)))
    assert len(doubts) > 1
    expected = sorted(doubts, key=lambda doubt: doubt[3], reverse=True)
    assert [(d.text, d.label, d.guess) for d in result.doubts] == [doubt[:3] for doubt in expected]
    assert [d.probability for d in result.doubts] == pytest.approx([doubt[3] for doubt in expected], abs=1e-5)


def test_an_audit_of_nothing_knows_nothing() -> None:
    result = audit(adapted({"a": ["wine", "red"], "b": ["tyre"]}))
    assert math.isnan(result.accuracy)
    assert (result.low, result.high, result.checked, result.skipped, result.doubts) == (0, 1, 0, 3, ())


def test_a_summary_gives_whole_percentages() -> None:
    assert Audit(0.9, 0.8, 0.95, 40, 0, ()).summary() == (
        "leave-one-out accuracy 90 % over 40 texts (95 % interval 80 to 95 %) on texts like these; what other people write is "
        "usually harder"
    )


@pytest.mark.parametrize(("share", "count"), [(0.0, 3), (1.0, 3), (0.5, 10), (0.9, 40), (0.25, 1000)])
def test_wilsons_interval_is_where_its_equation_is_zero(share: float, count: int) -> None:
    assert wilson(share, count) == pytest.approx(oracles.wilson(share, count), abs=1e-9)


# why


def test_details_tell_the_scores_the_nearest_text_and_why() -> None:
    task = adapted()
    labels = list(task.support)
    told = details(task, labels, ASKED, 0.05)
    rows = task.probabilities(task.score(MODEL.represent(ASKED)[0]))
    known = task.is_known(MODEL.represent(ASKED)[0], 0.05)
    given = [(text, label) for label, texts in task.support.items() for text in texts]
    similar = units(ASKED) @ units([text for text, _ in given]).T
    for one, row, is_known, likes in zip(told, rows, known, similar, strict=True):
        first, second = sorted(range(3), key=lambda i: -row[i])[:2]
        assert one["label"] == labels[first]
        assert one["probability"] == pytest.approx(row[first])
        assert one["scores"] == pytest.approx(dict(zip(labels, row, strict=True)))
        assert one["known"] == is_known
        text, label = given[likes.argmax()]
        assert one["nearest"] == {"text": text, "label": label, "similarity": pytest.approx(likes.max(), abs=1e-6)}
        told = f"{100 * row[first]:.0f} % {labels[first]}, then {100 * row[second]:.0f} % {labels[second]}"
        told += f"; nearest labelled text ({label}, similarity {likes.max():.2f}): {text}"
        told += "" if is_known else "; less similar to its nearest class than 95 % of texts that belong to one"
        assert one["why"] == told
    assert details(task, labels, [], 0.05) == []


def test_details_of_a_text_that_belongs_nowhere() -> None:
    strict = Calibration(thresholds=((2.0, 0.0, 0.0, 0.0),) * 5)
    task = Adaptation.learn(MODEL, strict, SUPPORT, None)
    (one,) = details(task, list(SUPPORT), ASKED[:1], 0.1)
    assert one["known"] is False
    assert re.search("; less similar to its nearest class than 90 % of texts that belong to one$", one["why"])
