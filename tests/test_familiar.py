"""Answers to texts that are like nothing that was labelled are not sure of anything."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders

from meta_text import FewShotClassifier
from meta_text.model.calibration import Calibration, Calibrations
from meta_text.model.familiar import familiar_range, familiarity

QUESTIONS = [*ASKED, "12345", "?", "zebra crossing yonder", *TEXTS[:3]]


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FewShotClassifier:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    model = FewShotClassifier(base_folder(tmp_path / "base", two_encoders(tmp_path)), device="cpu").meta_model
    thresholds = tuple((0.15 * i, 0.0, 0.0, 0.0) for i in range(5))
    model = model.with_findings(calibration=Calibrations(Calibration(thresholds=thresholds)))
    return FewShotClassifier(model).fit(TEXTS, LABELS)


def test_full_down_to_what_four_fifths_exceed_then_falling_to_nothing() -> None:
    limits = torch.tensor([-0.3, 0.1])
    found = familiarity(torch.tensor([-1.0, -0.3, -0.1, 0.05, 0.1, 0.9]), limits)
    np.testing.assert_allclose(found, [0, 0, 0.5, 0.875, 1, 1], atol=1e-6)


def test_the_limits_are_thresholds_of_the_task() -> None:
    calibration = Calibration(thresholds=tuple((0.1 * i, 0.0, 0.0, 0.0) for i in range(5)))
    found = familiar_range(calibration, 3, 4.0, (0.2, 0.0, 0.0, 0.0, 0.5))
    np.testing.assert_allclose(found, [0.2 - (0.9 - 0.2), 0.9], atol=1e-6)
    flat = familiar_range(Calibration(thresholds=((0.5, 0.0, 0.0, 0.0),) * 5), 3, 4.0, ())
    assert flat[0] < flat[1]  # thresholds that do not differ leave a step, not a division by zero


def test_oracle_probabilities_are_those_of_logits_times_familiarity(classifier: FewShotClassifier) -> None:
    adapted = classifier.adaptation_
    parts = adapted.represent(QUESTIONS).parts
    plain = adapted.model.learner.logits(adapted.task, adapted.model.in_space(adapted.task, torch.stack(list(parts))))
    at = [
        adapted.calibration.threshold_at(adapted.n_way, adapted.shots, rate, adapted.corrections)
        for rate in (0.01, 0.2)
    ]
    share = np.clip((adapted.likeness(parts) - (2 * at[0] - at[1])) / (2 * (at[1] - at[0])), 0, 1)
    assert share.min() < 0.9 < 1 == share.max()  # else nothing was tested
    expected = softmax(share[:, None] * plain.detach().double().numpy() / adapted.temperature, axis=1)
    np.testing.assert_allclose(classifier.predict_proba(QUESTIONS), expected, atol=1e-5)


def test_it_names_the_same_class(classifier: FewShotClassifier) -> None:
    adapted = classifier.adaptation_
    parts = adapted.represent(QUESTIONS).parts
    task = {key: value for key, value in adapted.task.items() if key != "familiar"}
    plain = adapted.model.learner.logits(task, adapted.model.in_space(task, torch.stack(list(parts)))).argmax(1)
    sure = adapted.score(parts)
    moved = sure.abs().max(1).values > 1e-6
    assert sure.argmax(1)[moved].tolist() == plain[moved].tolist()


def test_without_thresholds_nothing_is_damped(tmp_path: Path, classifier: FewShotClassifier) -> None:
    model = classifier.meta_model.with_findings(calibration=Calibrations())
    assert "familiar" not in FewShotClassifier(model).fit(TEXTS, LABELS).adaptation_.task


def test_classes_saved_before_answer_as_before(classifier: FewShotClassifier, tmp_path: Path) -> None:
    """A saved task without limits has none."""
    task = classifier.adaptation_.task
    del task["familiar"]
    expected = classifier.predict_proba(QUESTIONS)
    classifier.save_pretrained(tmp_path / "old")
    np.testing.assert_array_equal(
        FewShotClassifier.from_pretrained(tmp_path / "old").predict_proba(QUESTIONS), expected
    )
