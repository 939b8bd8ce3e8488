"""FewShotClassifier from the outside: scikit-learn's ways, labels, growing, doubts, files."""

import warnings
from pathlib import Path

import numpy as np
import oracles
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from meta_text import FewShotClassifier
from meta_text.config import EmbeddingConfig, EncoderConfig, LearnerConfig, Recipe
from meta_text.embedding.embedding import Embedding
from meta_text.learners import LEARNERS
from meta_text.model.build import build_model
from meta_text.model.calibration import Calibration, Calibrations
from meta_text.model.model import MetaModel
from meta_text.model.without_itself import likeness_without_itself

TEXTS = [
    "red wine glass",
    "a glass of red",
    "dry white wine",
    "flat tyre again",
    "new tyre please",
    "tyre pressure low",
]
LABELS = ["wine", "wine", "wine", "car", "car", "car"]
CALIBRATION = Calibration(
    temperature=(0.1, 0.0, 0.0, 0.0),
    thresholds=(
        (-0.9, 0.0, 0.0, 0.0),
        (-0.8, 0.0, 0.0, 0.0),
        (-0.7, 1.0, 2.0, 0.0),
        (-0.6, 0.0, 0.0, 0.0),
        (-0.5, 0.0, 0.0, 0.0),
    ),
)


def small_model(learner: str = "meta_lstm", max_tokens: int = 16) -> MetaModel:
    embedding = Embedding.learned(TEXTS, width=16, max_tokens=max_tokens)
    recipe = Recipe(
        embedding=EmbeddingConfig(kind="learned", width=16, max_tokens=max_tokens),
        encoder=EncoderConfig(hidden=8),
        learner=LearnerConfig(learner),
    )
    model = build_model(recipe, embedding).eval()
    model.calibration = Calibrations(CALIBRATION, CALIBRATION)
    return model


MODEL = small_model()


def fitted(**options: object) -> FewShotClassifier:
    return FewShotClassifier(MODEL, **options).fit(TEXTS, LABELS)


def test_fit_predict_score() -> None:
    classifier = fitted()
    assert classifier.classes_.tolist() == ["car", "wine"]
    assert classifier.predict(["a red wine", "tyre"]).tolist() == ["wine", "car"]
    assert classifier.score(TEXTS, LABELS) == 1.0
    proba = classifier.predict_proba(["wine", "tyre", "unheard of"])
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_serves(learner: str, tmp_path: Path) -> None:
    classifier = FewShotClassifier(small_model(learner)).fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "saved", include_support=True)
    again = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    again.add_class("boat", ["sail and mast", "row the boat"])
    assert again.predict(["sail the boat"]).tolist() == ["boat"]


def test_unfitted_predict() -> None:
    with pytest.raises(NotFittedError):
        FewShotClassifier(MODEL).predict(["x"])


def test_works_in_sklearn_tools() -> None:
    classifier = FewShotClassifier(MODEL)
    assert clone(classifier).get_params()["model"] is MODEL
    assert cross_val_score(make_pipeline(classifier), TEXTS, LABELS, cv=3).shape == (3,)
    search = GridSearchCV(classifier, {"label_names": [False, True]}, cv=3).fit(TEXTS, LABELS)
    assert search.predict(["tyre"]).tolist() == ["car"]


label_sets = st.one_of(
    st.lists(st.text(min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(-5, 99), min_size=2, max_size=4, unique=True),
    st.just([False, True]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=label_sets, data=st.data())
def test_property_argmax_agrees_with_predict_before_and_after_a_round_trip(
    labels: list, data: st.DataObject, tmp_path: Path
) -> None:
    y = [labels[i % len(labels)] for i in range(len(TEXTS))]
    classifier = FewShotClassifier(MODEL).fit(TEXTS, y)
    queries = data.draw(st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=4))
    for chosen in (classifier, _round_trip(classifier, tmp_path)):
        proba = chosen.predict_proba(queries)
        assert chosen.classes_[proba.argmax(1)].tolist() == chosen.predict(queries).tolist()
        np.testing.assert_allclose(proba.sum(1), 1, atol=1e-9)
    np.testing.assert_array_equal(proba, classifier.predict_proba(queries))
    assert type(chosen.classes_.tolist()[0]) is type(labels[0])


def _round_trip(classifier: FewShotClassifier, folder: Path) -> FewShotClassifier:
    classifier.save_pretrained(folder / "saved")
    return FewShotClassifier.from_pretrained(folder / "saved", device="cpu")


def test_order_of_texts_and_of_added_classes_does_not_matter() -> None:
    more = {"boat": ["sail and mast", "row the boat"], "pet": ["feed the cat", "walk the dog"]}
    first, second = fitted(), FewShotClassifier(MODEL).fit(TEXTS[::-1], LABELS[::-1])
    for name in more:
        first.add_class(name, more[name])
    for name in reversed(more):
        second.add_class(name, more[name][::-1])
    asked = ["cat in a boat", "wine", "red dog"]
    np.testing.assert_array_equal(first.predict_proba(asked), second.predict_proba(asked))
    second.remove_class("pet")
    second.remove_class("boat")
    np.testing.assert_array_equal(second.predict_proba(asked), fitted().predict_proba(asked))


def test_changes_are_reported() -> None:
    classifier = fitted()
    changes = classifier.add_class("bicycle", ["flat tyre again bicycle", "new tyre bicycle"])
    assert [change.label for change in changes] == ["car", "wine"]
    assert changes[0].probability_drop > changes[1].probability_drop
    classifier.rename_class("bicycle", "bike")
    classifier.add_examples(["bike chain"], ["bike"])
    assert classifier.support_["bike"] == ["bike chain", "flat tyre again bicycle", "new tyre bicycle"]
    classifier.remove_examples(["bike chain"])
    assert len(classifier.support_["bike"]) == 2


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda c: c.add_class("car", ["x"]), "class 'car' already exists"),
        (lambda c: c.remove_class("boat"), "unknown class 'boat'; use one of 'car', 'wine'"),
        (lambda c: c.rename_class("car", "wine"), "choose another label"),
        (lambda c: c.remove_examples(["nonsense"]), "never learned"),
        (lambda c: c.remove_examples(TEXTS[:3]), "would have no text left"),
        (lambda c: c.fit(TEXTS, LABELS[:2]), "6 texts and 2 labels"),
        (lambda c: c.fit(["a", ""], ["x", "y"]), r"X\[1\] is empty"),
        (lambda c: c.fit(["a", 3], ["x", "y"]), r"X\[1\] is 3 \(int\); a string is needed"),
        (lambda c: c.fit("abc", ["x"]), "a list of texts is needed"),
        (lambda c: c.fit(["a", "b"], ["x", 1]), "y mixes int and str labels"),
        (lambda c: c.fit(["a", "b"], ["x", None]), r"y\[1\] is None"),
        (lambda c: c.fit(["a", "b"], [["x", "z"], ["y"]]), "fit a MultiLabelFewShotClassifier, which takes several"),
        (lambda c: c.fit([], []), "no text and no described class"),
        (lambda c: c.predict(["x"], reject=0.0), "reject=0.0"),
        (lambda c: c.suggest(["x"], 0), "n=0; the number of texts to suggest must be at least 1"),
    ],
)
def test_bad_input(act: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act(fitted())  # type: ignore[operator]


def test_names_stand_in_for_texts() -> None:
    names = {"wine": "red wine glass", "car": "flat tyre"}
    classifier = FewShotClassifier(MODEL, label_names=names).fit([], [])
    assert classifier.predict(["glass of wine", "a tyre"]).tolist() == ["wine", "car"]
    classifier = FewShotClassifier(MODEL, label_names={**names, "boat": "sail and mast"}).fit(TEXTS, LABELS)
    assert classifier.predict(["mast and sail"]).tolist() == ["boat"]
    with pytest.raises(ValueError, match="no description of 'car'"):
        FewShotClassifier(MODEL, label_names={"wine": "x"}).fit(TEXTS, LABELS)


def test_pandas_numpy_and_class_label_are_taken() -> None:
    import pandas as pd
    from datasets import ClassLabel

    table = pd.DataFrame({"text": TEXTS, "label": pd.Categorical(LABELS)})
    expected = fitted().predict_proba(TEXTS)
    for X, y in [
        (table["text"], table["label"]),
        (table["text"].to_numpy(), np.array(LABELS)),
        (tuple(TEXTS), iter(LABELS)),
    ]:
        classifier = FewShotClassifier(MODEL).fit(X, y)
        assert classifier.classes_.tolist() == ["car", "wine"]
        np.testing.assert_array_equal(classifier.predict_proba(X), expected)
    names = ClassLabel(names=["flat_tyre", "red_wine"])
    ints = [names.str2int("red_wine" if label == "wine" else "flat_tyre") for label in LABELS]
    classifier = FewShotClassifier(MODEL, label_names=names).fit(TEXTS, ints)
    assert classifier.predict(["tyre", "wine"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="1-dimensional sequence of texts"):
        FewShotClassifier(MODEL).fit(table, LABELS)


COPIES = [("a glass of red", "car"), ("Dry  White wine", "wine")]  # one under another label, one under the same


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("labelled", "counts"),
    [
        pytest.param([*zip(TEXTS, LABELS, strict=True)], [3, 3], id="even"),
        pytest.param([*zip(TEXTS, LABELS, strict=True), *COPIES], [3, 4], id="copies"),
        pytest.param([*zip(TEXTS, LABELS, strict=True), *COPIES, ("row a boat", "boat")], [1, 3, 4], id="uneven"),
        pytest.param([*zip(TEXTS[1:5], LABELS[1:5], strict=True), ("row a boat", "boat")], [1, 2, 2], id="pairs"),
        pytest.param([*zip(TEXTS[2:4], LABELS[2:4], strict=True)], [1, 1], id="single texts"),
    ],
)
def test_oracle_likeness_without_itself_by_taking_texts_out_one_by_one(
    labelled: list[tuple[str, str]], counts: list[int], named: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = FewShotClassifier(small_model(), label_names=named).fit(*zip(*labelled, strict=True)).adaptation_
    texts = [text for own in adapted.distinct.values() for text in own]
    labels = [n for n, own in enumerate(adapted.distinct.values()) for _ in own]
    assert sorted(map(labels.count, set(labels))) == counts
    x, names = (np.array([adapted.features[t].double().numpy() for t in ts]) for ts in (texts, adapted.names or ()))
    weight = adapted.model.learner.log_name_weight.exp().item() if named else 0.0
    expected = oracles.likeness_without_itself(x, texts, labels, len(counts), names if named else None, weight)
    found, as_even = likeness_without_itself(adapted.task, adapted.given)
    assert as_even == pytest.approx(oracles.even_shots(counts, weight))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_tasks_own_texts_correct_the_thresholds(tmp_path: Path) -> None:
    calibration = Calibration(thresholds=((0.5, 0.0, 0.0, 0.0),) * 5)
    # thirty texts that are all like 0.3 where 0.5 was expected count as much as the held-out classes
    corrections = calibration.corrections(3, 9.0, np.full(30, 0.3))
    assert corrections == pytest.approx([-0.1] * 5)
    assert calibration.threshold_at(3, 9.0, 0.05, corrections) == pytest.approx(0.4)
    model = small_model()
    model.calibration = Calibrations(calibration)
    texts, labels = [f"{text} {word}" for text in TEXTS for word in ("a", "b", "c", "d", "e")], np.repeat(LABELS, 5)
    classifier = FewShotClassifier(model).fit(texts, labels)
    assert len(classifier.adaptation_.corrections) == 5
    classifier.save_pretrained(tmp_path / "saved")
    again = FewShotClassifier.from_pretrained(tmp_path / "saved")
    assert again.adaptation_.corrections == classifier.adaptation_.corrections


def test_reject_answers_none() -> None:
    classifier = fitted()
    answers = classifier.predict(["zzz qqq", "tyre pressure low"], reject=0.05)
    assert answers.dtype == object
    detail = classifier.predict_detail(["tyre pressure low"])[0]
    assert detail["label"] == "car"
    assert detail["nearest"]["text"] == "tyre pressure low"
    assert detail["nearest"]["similarity"] == pytest.approx(1, abs=1e-5)
    assert sum(detail["scores"].values()) == pytest.approx(1)


def test_threshold_and_temperature() -> None:
    calibration = CALIBRATION
    assert calibration.threshold_at(2, 3.0, 0.05) == pytest.approx(-0.7 + np.log(2) + 2 / 4)
    assert calibration.threshold_at(9, 9.0, 0.1) == pytest.approx(-0.6)
    assert calibration.threshold_at(9, 9.0, 0.15) == pytest.approx(-0.55)
    assert calibration.temperature_at(5, 1.0) == pytest.approx(np.exp(0.1))
    with pytest.raises(ValueError, match="no thresholds"):
        Calibration().threshold_at(2, 3.0, 0.05)


def test_audit_finds_a_wrong_label() -> None:
    labels = [*LABELS, "wine"]
    audit = FewShotClassifier(MODEL).fit([*TEXTS, "tyre pressure is low again"], labels).audit()
    assert audit.checked == 7
    assert audit.low < audit.accuracy < audit.high
    assert audit.doubts[0].text == "tyre pressure is low again"
    assert audit.doubts[0].guess == "car"


@pytest.mark.parametrize("count", [1, 2])
def test_audit_of_few_texts_says_that_it_cannot_tell(count: int) -> None:
    texts = ["where is my parcel", "refund please", "it never arrived", "I want my money back"][: 2 * count]
    audit = FewShotClassifier(MODEL).fit(texts, ["d", "r"] * count).audit()
    assert (audit.checked, audit.skipped, audit.doubts) == (0, 2 * count, ())
    assert np.isnan(audit.accuracy)
    assert audit.summary().startswith("too few texts to check the labels: no class has 3 different texts; label more")


def test_audit_in_words() -> None:
    audit = FewShotClassifier(MODEL).fit([*TEXTS, "sail", "mast"], [*LABELS, "boat", "boat"]).audit()
    assert (audit.checked, audit.skipped) == (6, 2)
    assert audit.summary() == (
        f"leave-one-out accuracy {100 * audit.accuracy:.0f} % over 6 texts (95 % interval {100 * audit.low:.0f} to "
        f"{100 * audit.high:.0f} %) on texts like these; what other people write is usually harder; 2 not checked, in classes with fewer than 3 different texts"
    )
    assert FewShotClassifier(MODEL, label_names=True).fit(["a", "b"], ["x", "y"]).audit().checked == 2


def test_oracle_audit_interval_against_the_root_of_its_equation() -> None:
    """Wilson's bounds p solve (share - p)^2 = z^2 p (1 - p) / n."""
    audit = fitted().audit()
    z, n = 1.96, audit.checked
    for bound in (audit.low, audit.high):
        assert (audit.accuracy - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n)
    assert audit.low < 0.7


def test_suggest_takes_different_texts() -> None:
    pool = ["sail and mast", "sail and mast!", "feed the cat", "tyre pressure low"]
    chosen = fitted().suggest(pool, 2)
    assert len({i if i > 1 else 0 for i in chosen}) == 2


@pytest.mark.parametrize("text", ["ワイン", "إطار", "🍷" * 50, "a\x00b\x07", "\ud800 lone", "wine " * 200_000])
def test_any_text_is_read(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(fitted().predict_proba([text])).all()


def test_long_texts_are_read_in_windows_and_cut_ones_are_counted() -> None:
    classifier = FewShotClassifier(small_model(max_tokens=8)).fit(TEXTS, LABELS)
    late = "word " * 8 + "tyre " * 20
    assert classifier.predict([late]).tolist() == ["car"]
    with pytest.warns(UserWarning, match="1 of 1 text is longer than the model reads"):
        classifier.predict(["word " * 500])
    with pytest.warns(UserWarning, match="1 labelled text is longer"):
        classifier.add_examples(["wine " * 500], ["wine"])
    assert classifier.n_cut_ == 1


def test_saved_without_support_answers_and_refuses_to_change(tmp_path: Path) -> None:
    classifier = _round_trip(fitted(), tmp_path)
    assert not (tmp_path / "saved" / "support.jsonl").exists()
    assert classifier.predict(["tyre"]).tolist() == ["car"]
    with pytest.raises(ValueError, match="include_support=True"):
        classifier.add_class("boat", ["sail"])
