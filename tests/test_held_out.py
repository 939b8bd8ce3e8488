"""Labelled texts held out in turn: which, what is said of them, and the temperature that follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders

from meta_text import FewShotClassifier
from meta_text.model import held_out as holding
from meta_text.model.held_out import FACTORS, FOLDS, HeldOut, folds_of, held_out
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("place")
    return base_folder(path / "base", two_encoders(path))


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def test_every_text_that_leaves_another_of_its_class_is_held_out_once() -> None:
    columns = [0] * 7 + [1] * 3 + [2] + [3] * 2
    labelled = [(f"text {i}", column) for i, column in enumerate(columns)]
    folds = folds_of(labelled)
    assert len(folds) == FOLDS
    assert sorted(place for fold in folds for place in fold) == [i for i in range(13) if i != 10]
    for fold in folds:
        for label, count in ((0, 7), (1, 3), (3, 2)):
            assert count // FOLDS <= sum(columns[place] == label for place in fold) <= -(-count // FOLDS)
    assert folds_of([("a", 0), ("b", 1)]) == []
    assert folds_of([]) == []


def test_which_texts_are_held_out_together_depends_on_neither_names_nor_order() -> None:
    labelled = [(f"text {i}", i % 4) for i in range(30)]
    together = {frozenset(labelled[place][0] for place in fold) for fold in folds_of(labelled)}
    other = [(text, 3 - column) for text, column in reversed(labelled)]
    assert {frozenset(other[place][0] for place in fold) for fold in folds_of(other)} == together


def test_oracle_the_answers_are_those_of_a_fit_without_the_texts(base: str) -> None:
    adapted = FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS).adaptation_
    space = {key: adapted.task[key] for key in SPACE}
    held = folds_of(adapted.given.labelled)[1]
    found = held_out(adapted.given, space, held)
    labelled = [(text, label) for label, texts in adapted.distinct.items() for text in texts]
    hidden = {labelled[place] for place in held}
    rest = {
        label: tuple(text for text in texts if (text, label) not in hidden) for label, texts in adapted.distinct.items()
    }
    learned = replace(adapted, support=rest, task=learn_task(replace(adapted.given, support=rest), space))
    parts = [adapted.features[labelled[place][0]] for place in held]
    hardness = tuple(adapted.task["left_out"].tolist())
    temperature = adapted.calibration.temperature_at(2, (len(TEXTS) - len(held)) / 2, hardness)
    np.testing.assert_allclose(found.logits, learned.score(parts) / temperature, atol=1e-5)
    np.testing.assert_allclose(found.likeness, learned.likeness(parts), atol=1e-6)
    assert [list(rest)[i] for i in found.labels] == [labelled[place][1] for place in held]


def test_oracle_the_factor_is_the_best_on_held_out_labels_as_far_as_they_are_many() -> None:
    rng = np.random.default_rng(1)
    logits, labels = 4 * rng.normal(size=(60, 3)), rng.integers(3, size=60)
    logits[np.arange(60), labels] += 4

    def loss(power: float) -> float:
        scores = logits / 2**power
        return float(-(scores[np.arange(60), labels] - np.log(np.exp(scores).sum(1))).mean())

    best = minimize_scalar(loss, bounds=(-2, 2), method="bounded")
    assert abs(best.x) > 0.3
    answers = HeldOut(torch.tensor(logits).float(), torch.tensor(labels), np.zeros(60, np.float32))
    assert answers.value == pytest.approx(-best.fun, abs=2e-3)
    assert np.log2(answers.factor) == pytest.approx(best.x * 60 / (60 + holding.PRIOR_TEXTS), abs=0.125)
    assert answers.right == sum(logits.argmax(1) == labels)


def test_many_texts_are_judged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    logits, labels = torch.tensor(rng.normal(size=(23, 5))), torch.tensor(rng.integers(5, size=23))
    whole, shapes = holding._by_factor(logits, labels), list[tuple[int, ...]]()
    log_softmax = torch.Tensor.log_softmax
    monkeypatch.setattr(
        torch.Tensor, "log_softmax", lambda x, dim: shapes.append(tuple(x.shape)) or log_softmax(x, dim)
    )
    monkeypatch.setattr(holding, "MOST_NUMBERS", 3 * len(FACTORS) * 5)
    assert torch.equal(holding._by_factor(logits, labels), whole)
    assert shapes == 7 * [(len(FACTORS), 3, 5)] + [(len(FACTORS), 2, 5)]


def test_oracle_the_gain_is_that_of_each_label_at_its_best_temperature() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=50)
    said = [rng.normal(size=(50, 3)) + strength * np.eye(3)[labels] for strength in (1.0, 2.0)]
    each = []
    for logits in said:
        scaled = [logits / factor for factor in FACTORS]
        likelihoods = [s[np.arange(50), labels] - np.log(np.exp(s).sum(1)) for s in scaled]
        each.append(max(likelihoods, key=np.mean))
    gain = each[1] - each[0]
    one, other = (HeldOut(torch.tensor(s).float(), torch.tensor(labels), np.zeros(50, np.float32)) for s in said)
    assert other.gain_over(one) == pytest.approx((gain.mean(), gain.std(ddof=1) / 50**0.5), rel=1e-4)


def test_the_classifier_answers_at_that_temperature(base: str) -> None:
    classifier = FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS)
    adapted = classifier.adaptation_
    space = {key: adapted.task[key] for key in SPACE}
    parts = [held_out(adapted.given, space, held) for held in folds_of(adapted.given.labelled)]
    factor = HeldOut.joined(parts).factor
    assert abs(factor - 1) > 0.05
    scores = adapted.score(adapted.represent(ASKED).parts).double().numpy() / (adapted.taught_temperature * factor)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(
        adapted.probabilities(adapted.score(adapted.represent(ASKED).parts)), expected, rtol=1e-5
    )


def test_names_of_classes_change_no_answer(base: str) -> None:
    one = FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS)
    other = FewShotClassifier(base, device="cpu").fit(TEXTS, [{"card": "a", "bank": "b"}[label] for label in LABELS])
    np.testing.assert_allclose(other.predict_proba(ASKED)[:, ::-1], one.predict_proba(ASKED), atol=1e-6)


@pytest.mark.parametrize("texts", [["my card", "the bank"], ["my card"]])
def test_where_nothing_can_be_held_out_the_temperature_is_as_taught(base: str, texts: list[str]) -> None:
    adapted = FewShotClassifier(base, device="cpu").fit(texts, ["card", "bank"][: len(texts)]).adaptation_
    assert adapted.temperature == adapted.taught_temperature


def test_extremes_stay_within_the_factors() -> None:
    sure, labels = torch.tensor([[50.0, 0.0]] * 400), torch.zeros(400, dtype=torch.long)
    right = HeldOut(sure, labels, np.zeros(400, np.float32)).factor
    wrong = HeldOut(sure, 1 - labels, np.zeros(400, np.float32)).factor
    assert min(FACTORS) <= right <= 1 < wrong <= max(FACTORS)
