"""The same text given several times, in whatever spelling, counts once in all that is learned and reported."""

import warnings

import numpy as np
import pytest
from test_classifier import LABELS, TEXTS, fitted, small_model

from meta_text import FewShotClassifier
from meta_text.corpus.same_text import one_of_each
from meta_text.model.calibration import Calibration, Calibrations

MORE = [f"{text} {word}" for text in TEXTS for word in ("a", "b", "c", "d", "e")]
MORE_LABELS = np.repeat(LABELS, 5).tolist()
ASKED = ["red wine", "low tyre", "nothing of the kind"]


def with_copies(texts: list[str], times: int) -> list[str]:
    spellings = [str, str.upper, lambda text: f"  {text}\n", lambda text: text.replace(" ", "  ")]
    return [spellings[i % 4](text) for i in range(times) for text in texts]


def test_one_of_each_takes_the_spelling_given_most_often_whatever_the_order() -> None:
    texts = ["Where IS it", "where is it", "WHERE IS IT", "  where is it", "WHERE IS IT", "other"]
    assert one_of_each(texts) == one_of_each(texts[::-1]) == ("WHERE IS IT", "other")
    assert one_of_each(["A b", "a b ", "a b"]) == ("a b",)
    assert one_of_each([]) == ()


@pytest.mark.parametrize("times", [2, 3, 5])
def test_copies_change_no_answer_threshold_or_audit(times: int) -> None:
    model = small_model()
    model.calibration = Calibrations(Calibration(thresholds=((-0.5, 0.1, 0.0, 0.0),) * 5))
    once = FewShotClassifier(model).fit(MORE, MORE_LABELS)
    copied = FewShotClassifier(model).fit(with_copies(MORE, times), MORE_LABELS * times)
    np.testing.assert_array_equal(copied.predict_proba(ASKED), once.predict_proba(ASKED))
    assert copied.adaptation_.corrections == once.adaptation_.corrections != ()
    assert copied.audit() == once.audit()
    assert copied.predict_detail(ASKED)[0]["nearest"] == once.predict_detail(ASKED)[0]["nearest"]
    assert len(copied.support_["wine"]) == times * len(once.support_["wine"])


def test_a_wrong_label_given_twice_is_still_found() -> None:
    wrong = "tyre pressure is low again"
    audit = FewShotClassifier(small_model()).fit([*TEXTS, wrong, wrong.upper()], [*LABELS, "wine", "wine"]).audit()
    assert audit.checked == 7
    assert (audit.doubts[0].text, audit.doubts[0].guess) == (wrong, "car")


def test_a_text_under_two_labels_is_taken_out_of_both_and_warned_of_in_any_spelling() -> None:
    with pytest.warns(UserWarning, match="text 'RED wine glass' has label 'car' and 'wine'; keep one"):
        classifier = FewShotClassifier(small_model()).fit([*TEXTS, "RED wine glass"], [*LABELS, "car"])
    adapted = classifier.adaptation_
    without = adapted.without("car", "RED wine glass")
    assert "red wine glass" not in without.support["wine"]
    assert "RED wine glass" not in without.support["car"]


def test_suggestions_name_no_text_twice_nor_one_that_is_labelled() -> None:
    pool = ["sail and mast", "SAIL  and mast", "Red wine glass", "feed the cat", "sail and mast"]
    assert sorted(fitted().suggest(pool, 5)) == [0, 3]
    assert fitted().suggest(TEXTS) == []


def test_a_change_of_classes_is_reported_for_texts_not_for_copies() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = FewShotClassifier(small_model()).fit(with_copies(TEXTS, 3), LABELS * 3)
        changes = classifier.add_class("boat", ["sail and mast", "sail and mast"])
    assert [change.texts for change in changes] == [3, 3]
