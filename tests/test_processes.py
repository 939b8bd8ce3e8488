"""A fitted classifier in other processes and threads: engines and copies in low precision are rebuilt, never carried."""

import copy
import io
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from test_classifier import LABELS, TEXTS
from test_embedding import tiny_bert
from test_engine import model_over

from meta_text import FewShotClassifier
from meta_text.embedding import precision
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.precision import VARIABLE

ASKED = [*TEXTS, "where is my card", "lost it"]
# Python 3.12 warns of every fork of a process with threads
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(params=["float32", "bfloat16", "training"])
def classifier(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FewShotClassifier:
    """One that has answered, in every engine: bfloat16 also runs, slowly, where a processor has no units for it."""
    monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
    monkeypatch.setenv(VARIABLE, request.param)
    model = model_over(Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16))
    fitted = FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS)
    fitted.predict(ASKED)
    return fitted


def through_joblib(thing: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "joblib": through_joblib,
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_answer_alike_and_can_be_changed(way: str, classifier: FewShotClassifier) -> None:
    twin = COPIES[way](classifier)
    np.testing.assert_array_equal(twin.predict_proba(ASKED), classifier.predict_proba(ASKED))
    twin.add_class("boat", ["sail and mast", "row the boat"])
    assert twin.predict(["sail the boat"]).tolist() == ["boat"]
    assert classifier.classes_.tolist() == ["car", "wine"]


def test_nothing_computed_on_the_way_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
    monkeypatch.setenv(VARIABLE, "bfloat16")
    model = model_over(Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16))
    before = len(pickle.dumps(model))
    FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS).predict(ASKED)
    assert model.embedding._made
    assert len(pickle.dumps(model)) == before


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_children_answer_alike(start: str, classifier: FewShotClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    if "bfloat16" in classifier.meta_model.engine_note and start == "spawn":
        monkeypatch.setenv(VARIABLE, "training")  # the child asks the real processor
    expected = classifier.predict_proba(ASKED)
    with multiprocessing.get_context(start).Pool(1) as pool:
        answered = pool.apply_async(classifier.predict_proba, (ASKED,)).get(timeout=120)
        refitted = pool.apply_async(classifier.fit, (TEXTS, LABELS)).get(timeout=120)
    np.testing.assert_allclose(answered, expected, atol=2e-3)
    np.testing.assert_allclose(refitted.predict_proba(ASKED), expected, atol=2e-3)


def test_the_tools_of_sklearn_with_two_jobs(tmp_path: Path) -> None:
    model = model_over(Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=16))
    one = FewShotClassifier(model, device="cpu").fit(TEXTS, LABELS)
    one.predict(ASKED)
    scores = cross_validate(one, TEXTS, LABELS, cv=3, n_jobs=2, return_estimator=True)
    alone = cross_validate(one, TEXTS, LABELS, cv=3, return_estimator=True)
    for there, here in zip(scores["estimator"], alone["estimator"], strict=True):
        np.testing.assert_allclose(there.predict_proba(ASKED), here.predict_proba(ASKED), atol=1e-6)
    search = GridSearchCV(one, {"label_names": [False, True]}, cv=3, n_jobs=2).fit(TEXTS, LABELS)
    assert set(search.predict(ASKED)) <= {"car", "wine"}
    three = [*LABELS[:4], "other", "other"]
    rest = OneVsRestClassifier(one, n_jobs=2).fit(TEXTS, three)
    np.testing.assert_array_equal(rest.predict(ASKED), OneVsRestClassifier(one).fit(TEXTS, three).predict(ASKED))
    stack = StackingClassifier([("few", one)], LogisticRegression(), cv=3, n_jobs=2).fit(np.array(TEXTS), LABELS)
    assert stack.predict_proba(np.array(ASKED)).shape == (len(ASKED), 2)


def test_eight_threads_answer_as_one(classifier: FewShotClassifier) -> None:
    expected = classifier.predict_proba(ASKED).tobytes()
    classifier.meta_model.embedding._made.clear()  # the first use is theirs
    answers: list[bytes] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        refitted = FewShotClassifier(classifier.meta_model, device="cpu").fit(TEXTS, LABELS)
        answers.append(refitted.predict_proba(ASKED).tobytes())
        answers.append(classifier.predict_proba(ASKED).tobytes())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 16
