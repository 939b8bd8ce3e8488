"""Labels and texts as people's arrays hand them over: read as plain Python values, or refused in words."""

import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import DataConversionWarning
from test_classifier import LABELS, MODEL, TEXTS, fitted

from meta_text import Corpus, FewShotClassifier, MetaTextError
from meta_text.corpus.labels import check_labels, check_texts, label_array, merged_labels

FOUR = ["red wine", "white wine", "flat tyre", "brake pads"]


def fit(y: Any, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(FOUR, y, **options)


@pytest.mark.parametrize(
    ("y", "classes"),
    {
        "torch": (torch.tensor([0, 0, 1, 1]), [0, 1]),
        "list of torch": (list(torch.tensor([0, 0, 1, 1])), [0, 1]),
        "torch bool": (torch.tensor([True, True, False, False]), [False, True]),
        "pyarrow": (pa.array([0, 0, 1, 1]), [0, 1]),
        "pyarrow chunks": (pa.chunked_array([["a", "a"], ["b", "b"]]), ["a", "b"]),
        "pyarrow dictionary": (pa.array(["a", "a", "b", "b"]).dictionary_encode(), ["a", "b"]),
        "pandas nullable": (pd.Series([0, 0, 1, 1], dtype="Int64"), [0, 1]),
        "pandas boolean": (pd.Series([True, True, False, False], dtype="boolean"), [False, True]),
        "pandas string": (pd.Series(["a", "a", "b", "b"], dtype="string"), ["a", "b"]),
        "pandas categorical": (pd.Series([7, 7, 3, 3], dtype="category"), [3, 7]),
        "numpy unsigned": (np.array([2, 2, 1, 1], np.uint8), [1, 2]),
        "numpy strings": (np.array(["aa", "aa", "b", "b"]), ["aa", "b"]),
        "numpy bytes": (np.array([b"a", b"a", b"b", b"b"]), ["a", "b"]),
        "whole floats": ([1.0, 1.0, 2.0, 2.0], [1, 2]),
        "generator": ((label for label in "aabb"), ["a", "b"]),
        "beyond 64 bits": ([2**70, 2**70, 2**70 + 1, 2**70 + 1], [2**70, 2**70 + 1]),
        "signed and beyond int64": ([2**63, 2**63, -1, -1], [-1, 2**63]),
        "trailing NUL": (["a\0", "a\0", "a", "a"], ["a", "a\0"]),
    }.values(),
)
def test_labels_come_back_as_plain_values_that_json_takes(y: Any, classes: list[Any]) -> None:
    classifier = fit(y)
    assert classifier.classes_.tolist() == classes
    for answers in (classifier.predict(FOUR), classifier.predict(FOUR, reject=0.2)):
        given = [label for label in answers.tolist() if label is not None]
        assert {type(label) for label in given} <= {type(classes[0])}
        json.dumps(answers.tolist())
    assert set(classifier.predict(FOUR).tolist()) == set(classes)


def test_a_column_of_labels_is_taken_with_the_warning_of_sklearn() -> None:
    with pytest.warns(DataConversionWarning):
        assert fit(np.array([[0], [0], [1], [1]])).classes_.tolist() == [0, 1]


def test_labels_that_differ_in_outer_white_space_are_one_class_with_a_warning() -> None:
    with pytest.warns(
        UserWarning, match="'car' and 'car ' differ only in outer white space; they are one class, 'car'"
    ):
        assert fit(["wine", "wine", "car", "car "]).classes_.tolist() == ["car", "wine"]


def test_labels_that_differ_in_case_are_two_classes_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="'car' and 'Car' differ only in case; they are 2 classes"):
        assert fit(["wine", "wine", "car", "Car"]).classes_.tolist() == ["Car", "car", "wine"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("car", "car\u200b"), ("my car", "my\u00a0car"), ("my car", "my  car"), ("caf\u00e9", "cafe\u0301")],
)
def test_labels_that_differ_in_what_cannot_be_seen_are_two_classes_with_a_warning(one: str, other: str) -> None:
    message = re.escape(f"labels {one!a} and {other!a} look alike, but differ in white space, invisible characters")
    with pytest.warns(UserWarning, match=rf"{message} .*; they are 2 classes"):
        classifier = fit(["wine", "wine", one, other])
    assert classifier.classes_.tolist() == sorted(["wine", one, other])
    rows = [{"text": label, "label": label} for label in (one, other)]
    [note] = Corpus.from_rows(rows, name="alike").notes
    assert "look alike" in note and note.endswith("and are 2 classes")


@given(st.lists(st.text(max_size=5) | st.integers() | st.booleans(), min_size=1, max_size=8, unique_by=repr))
def test_property_an_array_of_labels_holds_them_as_they_are(labels: list[Any]) -> None:
    assert [(type(a), a) for a in label_array(labels).tolist()] == [(type(b), b) for b in labels]


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8))
def test_property_merging_never_mixes_labels_that_differ_inside(labels: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = merged_labels(labels)
    for before, after in zip(labels, merged, strict=True):
        assert before.strip() == after.strip()


BLANK: list[Any] = [None, float("nan"), pd.NA, "", " \t\n", pd.NaT]


@pytest.mark.parametrize("blank", BLANK, ids=repr)
def test_a_blank_text_costs_the_others_nothing(blank: Any) -> None:
    classifier = fitted()
    asked = pd.Series(["a red wine", blank, "tyre pressure"], dtype=object)
    there = ["a red wine", "tyre pressure"]
    with pytest.warns(UserWarning, match="1 of 3 texts is blank or missing") as seen:
        probabilities = classifier.predict_proba(asked)
    assert len(seen) == 1
    np.testing.assert_allclose(probabilities[[0, 2]], classifier.predict_proba(there), atol=1e-6)
    assert probabilities[1].tolist() == [0.5, 0.5]
    with pytest.warns(UserWarning, match="blank or missing"):
        assert classifier.predict(asked).tolist()[::2] == classifier.predict(there).tolist()
    with pytest.warns(UserWarning, match="blank or missing"):
        rejected = classifier.predict(asked, reject=0.05).tolist()
    assert rejected[1] is None
    assert rejected[::2] == classifier.predict(there, reject=0.05).tolist()
    with pytest.warns(UserWarning, match="blank or missing"):
        detail = classifier.predict_detail(asked)
    assert detail[1]["why"] == "there is no text"
    assert detail[1]["nearest"] is None
    assert detail[1]["known"] is False


def test_fit_skips_bad_rows_where_it_is_told_to() -> None:
    X, y = [*FOUR, "", None, "no label"], ["wine", "wine", "car", "car", "car", "wine", None]
    with pytest.warns(UserWarning, match="3 of 7 rows skipped: 2 without a text, 1 without a label"):
        classifier = FewShotClassifier(MODEL).fit(X, y, bad_rows="skip")
    assert classifier.predict_proba(FOUR).tolist() == fit(["wine", "wine", "car", "car"]).predict_proba(FOUR).tolist()


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "one string as X": (lambda: check_texts("hello"), r"X is one string, 'hello'; a list of texts is needed, such as"),
    "bytes as X": (lambda: check_texts(b"hello"), "X is one string"),
    "a number as X": (lambda: check_texts(3), "X is 3; a list of texts is needed"),
    "a dictionary as X": (lambda: check_texts({"a": 1}), "a list of texts is needed"),
    "a set as X": (lambda: check_texts({"a"}), "a list of texts is needed"),
    "a table as X": (lambda: check_texts(np.array([["a", "b"]])), r"X has shape \(1, 2\); a 1-dimensional sequence"),
    "a frame as X": (lambda: check_texts(pd.DataFrame({"t": ["a"], "u": ["b"]})), r"X has shape \(1, 2\)"),
    "a number in X": (lambda: check_texts(["a", 3]), r"X\[1\] is 3 \(int\); a string is needed: convert it first"),
    "bytes in X": (lambda: check_texts([b"a"]), r"X\[0\] is b'a' \(bytes\); a string is needed: decode it first"),
    "a list in X": (lambda: check_texts([["a"]]), r"X\[0\] is \['a'\] \(list\); a string is needed"),
    "blank in fit": (lambda: fit_texts(["a", "  "]), r"X\[1\] is empty or missing; .*pass bad_rows=\"skip\" to fit"),
    "None in fit": (lambda: fit_texts(["a", None]), r"X\[1\] is empty or missing"),
    "NaN in fit": (lambda: fit_texts(["a", float("nan")]), r"X\[1\] is empty or missing"),
    "y is None": (lambda: check_labels(None), "the target y is None; a sequence of labels, one per text, is needed"),
    "y is a string": (lambda: check_labels("ab"), "y is one string, 'ab'; a list of labels is needed"),
    "fractions": (lambda: fit([0.5, 0.5, 1.5, 1.5]), r"y\[0\] is 0.5 \(float, a continuous label\); str, int or bool"),
    "missing": (lambda: fit(["a", None, "b", "b"]), r"y\[1\] is None, NaN or empty, so the label is missing"),
    "NaN": (lambda: fit(["a", float("nan"), "b", "b"]), r"y\[1\] is None, NaN or empty"),
    "pandas NA": (lambda: fit(pd.array([0, None, 1, 1], dtype="Int64")), r"y\[1\] is None, NaN or empty"),
    "pyarrow null": (lambda: fit(pa.array(["a", None, "b", "b"])), r"y\[1\] is None, NaN or empty"),
    "empty label": (lambda: fit(["a", "", "b", "b"]), r"y\[1\] is None, NaN or empty"),
    "mixed": (lambda: fit([1, 1, "b", "b"]), "y mixes int and str labels; use one kind, such as str"),
    "bool and int": (lambda: fit([True, True, 0, 0]), "y mixes bool and int labels"),
    "several labels": (
        lambda: fit([["a", "b"], ["a"], ["b"], ["b"]]),
        r"y\[0\] holds several labels .* fit a MultiLabelFewShotClassifier",
    ),
    "indicator matrix": (lambda: fit(np.eye(2)[[0, 0, 1, 1]]), r"y has shape \(4, 2\)"),
    "dates": (
        lambda: fit(pd.to_datetime(["2020", "2020", "2021", "2021"])),
        r"y\[0\] is .*\(Timestamp\); str, int or bool",
    ),
    "half a character": (
        lambda: fit(["a\ud800", "a", "b", "b"]),
        r"y\[0\] is 'a\\ud800', which contains a lone surrogate",
    ),
    "bytes that are no text": (
        lambda: fit([b"\xff", b"a", b"b", b"b"]),
        r"y\[0\] is b'\\xff', bytes that are not UTF-8",
    ),
    "lengths": (lambda: fit(["a", "b"]), "4 texts and 2 labels; one label per text is needed"),
    "bad_rows": (lambda: fit(LABELS[:4], bad_rows="drop"), "bad_rows='drop'; use 'raise' or 'skip'"),
    "empty new class": (lambda: fitted().add_class(" ", ["sail"]), "label ' ' is empty; give the class a name"),
    "another kind": (lambda: fitted().add_class(3, ["sail"]), "label 3 is int but the other classes are str; use str"),
}


def fit_texts(texts: list[Any]) -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(texts, LABELS[: len(texts)])


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(MetaTextError, match=message):
        call()


def test_texts_stay_in_order() -> None:
    assert check_texts(pd.Series(TEXTS, dtype="string")) == TEXTS
