"""How often each class is expected: what it does to answers, and where it goes with the classes."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_example import reader
from small_mixture import ASKED, LABELS, TEXTS, base_folder, two_encoders
from test_classifier import MODEL
from test_onnx import ask, needs_onnx

from meta_text import FewShotClassifier
from meta_text.classify.class_prior import shares_of
from meta_text.errors import InputError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("place")
    return base_folder(path / "base", two_encoders(path))


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def fitted(model: Any, class_prior: Any, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(model, class_prior=class_prior, device="cpu", **options).fit(TEXTS, LABELS)


@pytest.mark.parametrize("over_encoders", [True, False])
def test_oracle_probabilities_follow_the_prior_by_bayes(base: str, over_encoders: bool) -> None:
    model = base if over_encoders else MODEL
    plain = fitted(model, "balanced").predict_proba(ASKED)
    found = fitted(model, {"card": 3, "bank": 1}).predict_proba(ASKED)
    for row, expected in zip(found, plain, strict=True):  # columns: bank, card
        weighted = [expected[0] * 0.25, expected[1] * 0.75]
        np.testing.assert_allclose(row, np.array(weighted) / sum(weighted), atol=1e-9)
    np.testing.assert_allclose(fitted(model, {"card": 2, "bank": 2}).predict_proba(ASKED), plain, atol=1e-12)


def test_support_is_the_share_of_labelled_texts_each_once(base: str) -> None:
    counts = {label: LABELS.count(label) for label in ("bank", "card")}
    expected = fitted(base, counts).predict_proba(ASKED)
    np.testing.assert_allclose(fitted(base, "support").predict_proba(ASKED), expected, atol=1e-12)
    copies = FewShotClassifier(base, class_prior="support", device="cpu")
    copies.fit([*TEXTS, TEXTS[0].upper(), TEXTS[0]], [*LABELS, LABELS[0], LABELS[0]])
    np.testing.assert_allclose(copies.predict_proba(ASKED), expected, atol=1e-6)


def test_which_texts_are_refused_does_not_depend_on_it(base: str) -> None:
    one, other = fitted(base, "balanced"), fitted(base, {"card": 1000, "bank": 1})
    known = [[label is not None for label in each.predict(ASKED, reject=0.2)] for each in (one, other)]
    assert known[0] == known[1]


def test_edits_count_anew(base: str) -> None:
    classifier = fitted(base, "support")
    classifier.add_examples(["my my card", "card lost is my card"], ["card", "card"])
    assert classifier.adaptation_.prior == pytest.approx((5 / 13, 8 / 13))
    given = fitted(base, {"card": 3, "bank": 1})
    with pytest.raises(InputError, match="class_prior has no share for class 'new'; a positive number is needed"):
        given.add_class("new", ["b b b"])
    assert given.classes_.tolist() == ["bank", "card"]  # as before
    given.class_prior = {"card": 3, "bank": 1, "new": 4}
    given.add_class("new", ["b b b"])
    assert given.adaptation_.prior == (0.125, 0.375, 0.5)


def test_saved_pickled_and_loaded(base: str, tmp_path: Path) -> None:
    classifier = fitted(base, {"card": 3, "bank": 1})
    classifier.save_pretrained(tmp_path / "mine", include_support=True)
    again = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    for other in (again, pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_allclose(other.predict_proba(ASKED), classifier.predict_proba(ASKED), atol=1e-6)
        assert other.class_prior == {"bank": 0.25, "card": 0.75} or other.class_prior == {"card": 3, "bank": 1}
    again.rename_class("card", "a card")
    assert again.class_prior == {"bank": 0.25, "a card": 0.75}
    np.testing.assert_allclose(again.predict_proba(ASKED)[:, ::-1], classifier.predict_proba(ASKED), atol=1e-6)
    again.remove_class("a card")
    assert again.class_prior == {"bank": 0.25}


@needs_onnx
@pytest.mark.parametrize("over_encoders", [True, False])
def test_exported(base: str, over_encoders: bool, tmp_path: Path) -> None:
    classifier = fitted(base if over_encoders else MODEL, {"card": 9, "bank": 1})
    classifier.export_onnx(tmp_path / "mine.onnx")
    found = reader(tmp_path)["predict_proba"](list(ASKED)) if over_encoders else ask(tmp_path / "mine.onnx", ASKED)[0]
    np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=1e-4)


@pytest.mark.parametrize(
    ("class_prior", "message"),
    [
        ("even", "class_prior='even'; use 'balanced', 'support', 'unlabeled' or {label: share}"),
        (None, "class_prior=None; use 'balanced', 'support', 'unlabeled' or {label: share}"),
        ({"card": 1}, "class_prior has no share for class 'bank'; a positive number is needed for every class"),
        ({"card": 1, "bank": 0}, "class_prior has the share 0 for class 'bank'; a positive number"),
        ({"card": 1, "bank": float("nan")}, "class_prior has the share nan for class 'bank'"),
        ({"card": True, "bank": 1}, "class_prior has the share True for class 'card'"),
        (
            {"card": 1, "bank": 1, "loan": 1},
            "class_prior has a share for 'loan', which is no class; use 'bank', 'card'",
        ),
    ],
)
def test_what_is_no_prior_is_refused(base: str, class_prior: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        fitted(base, class_prior)
    assert message in str(caught.value)


def test_support_needs_a_text_for_each_class(base: str) -> None:
    adapted = replace(fitted(base, "balanced").adaptation_, support={"a": ("x",), "b": ()})
    with pytest.raises(
        InputError, match="class_prior='support' gives 'b' no share, for it has no labelled text; give it"
    ):
        shares_of("support", adapted)
