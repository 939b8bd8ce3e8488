"""Classes and texts added, removed, renamed: names, kinds of labels, order, and what survives saving."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_classifier import CALIBRATION, LABELS, MODEL, TEXTS, fitted, small_model

from meta_text import FewShotClassifier
from meta_text.model.calibration import Calibrations, check_rate

NAMES = {"wine": "red wine glass", "car": "flat tyre"}
labels = st.one_of(
    st.lists(st.text("abcdef_ é", min_size=1, max_size=6).filter(str.strip), min_size=4, max_size=4, unique=True),
    st.lists(st.integers(-5, 99), min_size=4, max_size=4, unique=True),
)
texts = st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=3, unique=True)


@settings(max_examples=20, deadline=None)
@given(labels=labels, first=texts, second=texts, named=st.booleans())
def test_property_add_a_then_b_equals_b_then_a(labels: list, first: list[str], second: list[str], named: bool) -> None:
    y = [labels[i % 2] for i in range(len(TEXTS))]
    added = [(labels[2], first), (labels[3], second)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same text may be drawn for both
        one, other = (FewShotClassifier(MODEL, label_names=named).fit(TEXTS, y) for _ in range(2))
        for (a, a_texts), (b, b_texts) in zip(added, reversed(added), strict=True):
            one.add_class(a, a_texts)
            other.add_class(b, b_texts)
    asked = [*first, *second, "red wine"]
    assert one.classes_.tolist() == other.classes_.tolist()
    # Not bit by bit: a text is read with those added along with it, and the width of such a batch moves the last bit.
    np.testing.assert_allclose(one.predict_proba(asked), other.predict_proba(asked), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda c: c.add_class("boat", []),
            "class 'boat' has no text; give it at least one .a description= alone is enough only",
        ),
        (lambda c: c.add_class("boat", "one string"), "a list of texts is needed"),
        (lambda c: c.add_class(3, ["x"]), "label 3 is int but the other classes are str; use str"),
        (lambda c: c.add_class(None, ["x"]), "label None is NoneType"),
        (lambda c: c.add_class(["a", "b"], ["x"]), "is several labels"),
        (lambda c: c.add_class("boat", ["x"], description="y"), "a description has no effect without label names"),
        (lambda c: c.rename_class("car", 3), "label 3 is int"),
        (lambda c: c.rename_class("car", "car"), "choose another label"),
        (lambda c: c.rename_class("car", "auto", description="y"), "a description has no effect without label names"),
        (lambda c: c.remove_class(["car"]), "is several labels"),
        (lambda c: c.add_examples(["a", "b"], ["car"]), "2 texts and 1 label; one label per text is needed"),
        (lambda c: c.add_examples(["a"], ["boat"]), "unknown class 'boat'; use one of 'car', 'wine'"),
        (lambda c: c.add_examples(["a"], [None]), r"y\[0\] is None"),
        (lambda c: c.predict(None), "X is None; a list of texts is needed"),
        (lambda c: c.predict(3), "X is 3; a list of texts is needed"),
        (lambda c: check_rate("x"), "reject='x'; a false-reject rate from 0.01 to 0.2 is needed"),
        (lambda c: check_rate([0.1]), r"reject=\[0.1\]; a false-reject rate"),
        (lambda c: c.predict(["x"], reject=0.3), "reject=0.3; a false-reject rate from 0.01 to 0.2 is needed"),
        (lambda c: c.predict(["x"], reject=0.001), "reject=0.001"),
        (lambda c: c.predict(["x"], reject=float("nan")), "reject=nan"),
    ],
)
def test_bad_changes_say_what_is_needed(act: object, message: str) -> None:
    classifier = fitted()
    before = classifier.predict_proba(TEXTS)
    with pytest.raises(ValueError, match=message):
        act(classifier)  # type: ignore[operator]
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), before)


def test_a_dict_of_descriptions_grows_with_the_classes() -> None:
    classifier = FewShotClassifier(MODEL, label_names=NAMES).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="class 'boat' has no description, but the others have; pass description="):
        classifier.add_class("boat", ["row the boat"])
    classifier.add_class("boat", [], description="sail and mast")
    classifier.rename_class("car", "vehicle")
    classifier.rename_class("boat", "ship", description="mast and sail")
    expected = FewShotClassifier(
        MODEL, label_names={"wine": "red wine glass", "vehicle": "flat tyre", "ship": "mast and sail"}
    ).fit(TEXTS, ["vehicle" if label == "car" else label for label in LABELS])
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    classifier.remove_class("ship")
    assert classifier.adaptation_.names == ("flat tyre", "red wine glass")


def test_names_from_labels_follow_a_rename() -> None:
    classifier = FewShotClassifier(MODEL, label_names=True).fit(TEXTS, LABELS)
    classifier.rename_class("car", "motor_car")
    classifier.add_class("row_boat", [])
    assert classifier.adaptation_.names == ("motor car", "row boat", "wine")


@pytest.mark.parametrize("label_names", [True, NAMES, {**NAMES, "boat": "sail and mast"}])
def test_names_count_after_a_round_trip_too(label_names: object, tmp_path: Path) -> None:
    classifier = FewShotClassifier(MODEL, label_names=label_names).fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "saved", include_support=True)
    again = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.label_names == label_names
    for one in (classifier, again):
        one.add_class("pet", ["feed the cat"], description="cats and dogs")
    asked = ["mast", "a cat", "wine"]
    assert np.isfinite(again.predict_proba(asked)).all()
    np.testing.assert_array_equal(again.predict_proba(asked), classifier.predict_proba(asked))


def test_a_zero_shot_classifier_can_be_changed_after_a_round_trip(tmp_path: Path) -> None:
    FewShotClassifier(MODEL, label_names=NAMES).fit([], []).save_pretrained(tmp_path / "saved", include_support=True)
    again = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    again.add_class("boat", ["row the boat"], description="sail and mast")
    assert again.predict(["sail the boat", "glass of wine"]).tolist() == ["boat", "wine"]
    assert FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu", label_names=False).label_names is False


def test_names_off_by_none() -> None:
    classifier = FewShotClassifier(MODEL, label_names=None).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), fitted().predict_proba(TEXTS))


def test_a_text_under_two_labels_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="text 'a b' has label 'y' and 'x'; keep one"):
        FewShotClassifier(MODEL).fit(["a b", "a b"], ["x", "y"])


def test_another_model_reads_the_texts_again() -> None:
    other = small_model("protonet")
    torch.nn.init.normal_(other.embedding.body.weight)  # type: ignore[arg-type]
    changed = fitted().set_params(model=other)
    np.testing.assert_array_equal(
        changed.predict_proba(TEXTS), fitted().predict_proba(TEXTS)
    )  # until it is fitted again
    found = changed.fit(TEXTS, LABELS).predict_proba(["red wine"])
    np.testing.assert_array_equal(found, FewShotClassifier(other).fit(TEXTS, LABELS).predict_proba(["red wine"]))


def test_cut_texts_stay_counted_when_classes_change(tmp_path: Path) -> None:
    classifier = FewShotClassifier(small_model(max_tokens=8))
    with pytest.warns(UserWarning, match="1 labelled text is longer"):
        classifier.fit([*TEXTS, "wine " * 500], [*LABELS, "wine"])
    classifier.add_class("boat", ["sail"])  # filterwarnings = error: the same text is not warned of again
    assert classifier.n_cut_ == 1
    classifier.fit([*TEXTS, "wine " * 500], [*LABELS, "wine"])
    assert classifier.n_cut_ == 1
    classifier.save_pretrained(tmp_path / "saved", include_support=True)
    assert FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu").n_cut_ == 1
    classifier.remove_examples(["wine " * 500])
    assert classifier.n_cut_ == 0


def test_detail_without_thresholds() -> None:
    model = small_model()
    model.calibration = Calibrations(replace(CALIBRATION, thresholds=()))
    detail = FewShotClassifier(model).fit(TEXTS, LABELS).predict_detail(["red wine"])[0]
    assert detail["label"] == "wine"
    assert detail["known"] is None


def test_reading_can_be_watched() -> None:
    seen: list[tuple[int, int]] = []
    watched = FewShotClassifier(MODEL).fit(TEXTS, LABELS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 6)]
    np.testing.assert_array_equal(watched.predict_proba(TEXTS), fitted().predict_proba(TEXTS))


def test_suggest_takes_no_more_than_there_are() -> None:
    assert sorted(fitted().suggest(["a", "b"])) == [0, 1]


def test_save_pretrained_has_no_other_options(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no option 'foo'; token, private, branch, commit_message go with push_to_hub"):
        fitted().save_pretrained(tmp_path / "saved", foo=1)
    assert not (tmp_path / "saved").exists()


def test_reprs_are_short() -> None:
    assert repr(MODEL) == "MetaModel(meta_lstm over learned)"
    assert len(repr(FewShotClassifier(MODEL))) < 100


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "cuda:0",
            "device 'cuda:0' is not available: torch sees no CUDA device on this machine; use cpu, or leave device out",
        ),
        ("gpu", "'gpu' is not a device torch knows; use cpu, cuda or cuda:0"),
    ],
)
def test_a_device_that_is_not_here(device: str, message: str, tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved")
    with pytest.raises(ValueError, match=message):
        FewShotClassifier.from_pretrained(tmp_path / "saved", device=device)
