"""MultiLabelFewShotClassifier: y in all its forms, oracles of its numbers, edits, files, and errors in words."""

import json
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
import torch
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score, label_ranking_average_precision_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from small_mixture import two_encoders, untrained
from test_classifier import fitted, small_model

from meta_text import FewShotClassifier, MultiLabelFewShotClassifier
from meta_text.classify.label_audit import audit_labels
from meta_text.classify.label_sets import read_label_sets
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.reading import Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import ConfigError, InputError, ModelFileError
from meta_text.model import label_calibration
from meta_text.model.label_calibration import best_f1, fit_odds, fit_thresholds
from meta_text.model.label_heads import UNKNOWN_LABEL, counted_labels, drawn_ridge, fit_heads, learn_heads
from meta_text.model.label_ridge import RidgePath
from meta_text.model.label_space import (
    best_likelihood,
    can_be_left_out,
    centre_shares,
    fit_label_space,
    names_count,
    weigh_by_labels,
)
from meta_text.model.mixture import LEAST_WEIGHT, SCALES, Prior, Space, left_out_likelihood, weight_grid
from meta_text.model.mixture import RIDGES as KERNEL_RIDGES
from meta_text.model.model import MetaModel
from meta_text.saving.model_folder import write_model

TEXTS = [
    "where is my card",
    "my card is lost",
    "card gone",
    "where is the bank",
    "the bank is gone",
    "bank a b",
    "my card and the bank",
    "lost my card b the bank is gone",
    "query : a",
]
SETS = [["card"], ["card"], ["card"], ["bank"], ["bank"], ["bank"], ["bank", "card"], ["card", "bank"], []]
MATRIX = np.array([["bank" in one, "card" in one] for one in SETS]).astype(int)
ASKED = ["my lost card is gone", "where the bank", "query : a", "is it my card b bank"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MetaModel:
    return untrained(two_encoders(tmp_path_factory.mktemp("encoders")))


@pytest.fixture
def known(model: MetaModel) -> MultiLabelFewShotClassifier:
    return MultiLabelFewShotClassifier(model).fit(TEXTS, SETS)


def test_answers_in_all_forms_agree(known: MultiLabelFewShotClassifier) -> None:
    assert known.classes_.tolist() == ["bank", "card"]
    probabilities, given = known.predict_proba(ASKED), known.predict(ASKED)
    assert probabilities.shape == (4, 2) and ((probabilities > 0) & (probabilities < 1)).all()
    assert given.dtype.kind == "i"
    np.testing.assert_array_equal(given, probabilities >= known.thresholds_)
    labels = known.classes_.tolist()
    for row, found in zip(probabilities, known.predict_labels(ASKED), strict=True):
        assert {labels.index(label) for label in found} == {*np.flatnonzero(row >= known.thresholds_)}
        assert found == sorted(found, key=lambda label: -row[labels.index(label)])
    assert {label for labels in known.predict_labels(TEXTS) for label in labels} == {"bank", "card"}


def test_texts_have_none_one_or_several_labels(known: MultiLabelFewShotClassifier) -> None:
    assert known.score(TEXTS, SETS) == np.mean((known.predict(TEXTS) == MATRIX).all(1))
    known.adaptation_.task["thresholds"][:] = torch.tensor([0.6, 0.33])
    assert {len(labels) for labels in known.predict_labels(TEXTS)} == {0, 1, 2}


FORMS: dict[str, Callable[[], Any]] = {
    "tuples": lambda: [tuple(one) for one in SETS],
    "sets": lambda: [set(one) for one in SETS],
    "arrays": lambda: [np.array(one, dtype=object) for one in SETS],
    "array of lists": lambda: pandas.Series(SETS).to_numpy(),
    "generator": lambda: (one for one in SETS),
    "pandas series": lambda: pandas.Series(SETS),
    "polars series": lambda: polars.Series(SETS, dtype=polars.List(polars.String)),
    "pandas table": lambda: pandas.DataFrame(MATRIX, columns=["bank", "card"]),
    "polars table": lambda: polars.DataFrame({"bank": MATRIX[:, 0] > 0, "card": MATRIX[:, 1] > 0}),
    "outer white space": lambda: [[f" {label} " if i > 3 else label for label in one] for i, one in enumerate(SETS)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:labels .* differ only in outer white space")
def test_every_form_of_y_is_read_alike(form: str) -> None:
    found = read_label_sets(FORMS[form]())
    assert found.labels == ("bank", "card")
    np.testing.assert_array_equal(found.has, MATRIX == 1)


@pytest.mark.parametrize("form", [np.array, sparse.csr_matrix, torch.tensor, lambda rows: np.array(rows, dtype=float)])
def test_an_indicator_matrix_has_numbered_labels(form: Callable[[Any], Any]) -> None:
    found = read_label_sets(form(MATRIX.tolist()))
    assert found.labels == (0, 1)
    np.testing.assert_array_equal(found.has, MATRIX == 1)


def test_integers_are_labels_in_lists() -> None:
    assert read_label_sets([[7, 3], [], [3]]).labels == (3, 7)


def test_pyarrow_lists_are_read() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    assert read_label_sets(pyarrow.array(SETS)).labels == ("bank", "card")


BAD_Y = {
    "none": (None, "the target y is None; a list of labels for each text"),
    "string": ("card", "y is one string, 'card'"),
    "labels alone": (["card", "bank"], r"y\[0\] is 'card', not a list of labels; write \['card'\]"),
    "not split": (["card|bank"], r"split it first, as in \[labels.split\('\|'\) for labels in y\]"),
    "missing": ([["card"], None], r"y\[1\] is missing; write \[\] for a text that has no label"),
    "blank": ([["card", " "]], r"y\[0\] has a label that is missing or blank; leave it out"),
    "mixed": ([["card"], [1]], "y mixes int and str labels"),
    "fraction": ([[0.5]], r"y\[0\] is 0.5 \(float"),
    "nested": ([[["card"]]], r"y\[0\] holds several labels"),
    "nested indicator": ([[0, 1, 1], [1, 0, 0]], r"lists of 0 and 1, all of one length; pass np.array\(y\)"),
    "counts": (np.array([[0, 2]]), r"y\[0, 1\] is 2; an indicator matrix has 1 where"),
    "nan": (np.array([[0, np.nan]]), r"y\[0, 1\] is None; an indicator matrix"),
    "two columns": (pandas.DataFrame([[1, 0]], columns=["a", "a"]), "two columns of y have the same name"),
    "no heading": (pandas.DataFrame([[1, 0]], columns=["a", ""]), "a column of y has no name"),
}


@pytest.mark.parametrize("case", BAD_Y)
def test_bad_y_is_answered_in_words(case: str) -> None:
    y, message = BAD_Y[case]
    with pytest.raises(InputError, match=message):
        read_label_sets(y)


BAD_FITS: dict[str, tuple[Callable[[MultiLabelFewShotClassifier], Any], str]] = {
    "lengths": (lambda c: c.fit(["a", "b"], [["x"]]), "2 texts and 1 set of labels; one set per text"),
    "blank text": (
        lambda c: c.fit(["a", " "], [["x"], []]),
        r"X\[1\] is empty or missing; a string is needed: drop the row",
    ),
    "no label": (lambda c: c.fit(["a"], [[]]), "no text has a label; give some text one, or describe"),
    "names of another kind": (
        lambda c: c.set_params(label_names={1: "one"}).fit(["a"], [["x"]]),
        "y and label_names have int and str labels",
    ),
    "a name missing": (
        lambda c: c.set_params(label_names={"x": "words"}).fit(["a"], [["x", "y"]]),
        "label_names has no description of 'y'; describe every label or none",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_fits_are_answered_in_words(case: str, model: MetaModel) -> None:
    call, message = BAD_FITS[case]
    with pytest.raises((InputError, ConfigError), match=message):
        call(MultiLabelFewShotClassifier(model))


def test_a_model_of_token_states_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"several labels a text need a model over sentence encoders.*use model='default'"
    ):
        MultiLabelFewShotClassifier(small_model()).fit(["a"], [["x"]])


def test_the_single_label_class_names_this_one() -> None:
    with pytest.raises(InputError, match=r"holds several labels.*fit a MultiLabelFewShotClassifier"):
        FewShotClassifier(small_model()).fit(["a", "b"], [["x", "z"], ["y"]])


def test_a_text_that_comes_twice_has_all_labels_with_a_warning(model: MetaModel) -> None:
    with pytest.warns(UserWarning, match="1 text given several times with different labels, such as 'my card'"):
        known = MultiLabelFewShotClassifier(model).fit(
            ["my card", "MY  card", "the bank"], [["card"], ["bank"], ["bank"]]
        )
    assert known.support_ == {"bank": ["my card", "the bank"], "card": ["my card"]}


def test_a_label_without_texts_is_never_given_with_a_warning(model: MetaModel) -> None:
    rows = np.hstack([MATRIX, np.zeros((len(TEXTS), 1), int)])
    with pytest.warns(UserWarning, match="no text has label 2, so no text will be given it"):
        known = MultiLabelFewShotClassifier(model).fit(TEXTS, rows)
    assert known.predict(TEXTS).shape == (len(TEXTS), 3) and not known.predict(TEXTS)[:, 2].any()
    np.testing.assert_allclose(known.predict_proba(TEXTS)[:, 2], expit(UNKNOWN_LABEL), rtol=1e-5)
    assert UNKNOWN_LABEL == -10 and known.thresholds_[2] == 1


def test_blank_texts_have_no_label_with_a_warning(known: MultiLabelFewShotClassifier) -> None:
    with pytest.warns(UserWarning, match="2 of 3 texts are blank or missing; the answer is no label"):
        found = known.predict_proba(["my card", None, " "])
    assert not found[1:].any()
    np.testing.assert_array_equal(found[0], known.predict_proba(["my card"])[0])
    assert known.predict_proba([]).shape == (0, 2)


def test_answers_do_not_depend_on_the_order_of_texts_and_labels(known: MultiLabelFewShotClassifier) -> None:
    other = clone(known).fit(TEXTS[::-1], [one[::-1] for one in SETS[::-1]])
    np.testing.assert_allclose(other.predict_proba(ASKED), known.predict_proba(ASKED), atol=1e-5)
    np.testing.assert_allclose(other.thresholds_, known.thresholds_, atol=1e-5)


def test_names_count_as_texts(model: MetaModel) -> None:
    names = {"bank": "the bank", "card": "my card"}
    alone = MultiLabelFewShotClassifier(model, label_names=names).fit([], [])
    assert alone.predict_proba(["the bank"])[0].argmax() == 0
    assert alone.predict_proba(["my card"])[0].argmax() == 1
    assert alone.thresholds_.tolist() == [pytest.approx(label_calibration.UNKNOWN)] * 2
    both = MultiLabelFewShotClassifier(model, label_names=True).fit(TEXTS, SETS)
    without = MultiLabelFewShotClassifier(model).fit(TEXTS, SETS)
    assert not np.allclose(both.predict_proba(ASKED), without.predict_proba(ASKED))


def test_works_in_sklearn_tools(model: MetaModel) -> None:
    classifier = MultiLabelFewShotClassifier(model)
    assert classifier.__sklearn_tags__().classifier_tags.multi_label
    assert clone(classifier).get_params()["model"] is model
    y = MultiLabelBinarizer().fit_transform(SETS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no text has label")
        assert cross_val_score(make_pipeline(classifier), TEXTS, y, cv=3, scoring="f1_micro").shape == (3,)
        search = GridSearchCV(classifier, {"label_names": [False, {0: "bank", 1: "card"}]}, cv=3).fit(TEXTS, y)
    assert search.predict(ASKED).shape == (4, 2)


def test_pickled_it_answers_the_same(model: MetaModel) -> None:
    known = MultiLabelFewShotClassifier(model).fit(TEXTS, SETS)
    again = pickle.loads(pickle.dumps(known))
    np.testing.assert_array_equal(again.predict_proba(ASKED), known.predict_proba(ASKED))


def test_unfitted_it_says_what_to_do() -> None:
    with pytest.raises(NotFittedError, match="has learned no labels yet; call fit"):
        MultiLabelFewShotClassifier().predict(["a"])


def test_vectors_in_place_of_texts(model: MetaModel, tmp_path: Path) -> None:
    x, has = drawn(30, 8, 2)
    untrained_folder = tmp_path / "base"
    untrained_folder.mkdir()
    write_model(model, untrained_folder)
    known = MultiLabelFewShotClassifier(str(untrained_folder), embedding="vectors").fit(x, has)
    assert f1_score(has, known.predict(x), average="micro") > 0.5
    with pytest.raises(InputError, match="label names are texts, but embedding='vectors' reads rows of numbers"):
        clone(known).set_params(label_names=True).fit(x, has)


def test_a_meta_model_has_its_encoders(model: MetaModel) -> None:
    with pytest.raises(ConfigError, match="leave embedding out"):
        MultiLabelFewShotClassifier(model, embedding="fast").fit(TEXTS, SETS)


# numbers


def drawn(texts: int, width: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of length 1, and labels that the first numbers tell; every fifth text has none."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(texts, width))
    has = x[:, :labels] + 0.5 * rng.normal(size=(texts, labels)) > 0.4
    has[::5] = False
    return x / np.linalg.norm(x, axis=1, keepdims=True), has


@pytest.mark.parametrize("ridge", [0.3, 3.0])
@pytest.mark.parametrize(("texts", "width"), [(12, 30), (40, 5)])
@pytest.mark.parametrize("named", [False, True])
def test_oracle_scores_are_those_of_texts_really_left_out(texts: int, width: int, named: bool, ridge: float) -> None:
    x, has = drawn(texts, width, 3)
    x[1] *= 0.5  # a text that not every encoder can read is shorter
    names = np.random.default_rng(1).normal(size=(3, width)) if named else np.zeros((0, width))
    shares = np.random.default_rng(2).random(texts) / 5
    path = RidgePath.of(torch.tensor(x), torch.tensor(has), torch.tensor(names), 1.5, torch.tensor(shares))

    def solved(rows: np.ndarray, x: np.ndarray, names: np.ndarray) -> np.ndarray:
        """Weights [D, N] with the least squared error plus the ridge times their square; a name counts as 1.5 texts."""
        gram = x[rows].T @ x[rows] + ridge * np.eye(width) + 1.5 * names.T @ names
        return np.linalg.solve(gram, x[rows].T @ has[rows] + 1.5 * names.T @ np.eye(3)[: len(names)])

    np.testing.assert_allclose(path.weights(ridge).numpy().T, solved(np.arange(texts), x, names), atol=1e-9)
    scores = path.left_out(ridge).numpy()
    for i in range(texts):
        further = shares[i] / (1 - shares[i]) * x[i]  # all others from a centre that lacks this text
        rest = np.delete(np.arange(texts), i)
        np.testing.assert_allclose(scores[i], x[i] @ solved(rest, x + further, names + further), atol=1e-9)


class Silent(SentenceEncoder):
    """Of a name and a width alone."""

    def __init__(self, name: str, width: int, is_counts: bool = False) -> None:
        self.name, self.width, self.is_counts = name, width, is_counts

    def encode(self, texts: Any, progress: Any = None) -> Represented:
        raise NotImplementedError

    def digest(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("prior", [Prior(), Prior(centres={"first": (0.2,) * 4, "second": (0.1,) * 6})])
@pytest.mark.parametrize("n_names", [0, 4])
@pytest.mark.parametrize("alone", [False, True])
def test_oracle_shares_are_how_far_a_text_moves_the_centre(prior: Prior, n_names: int, alone: bool) -> None:
    """Against centres of spaces that are really fitted: of the raw vectors, one of which is moved a little."""
    x, has = drawn(12, 10, 3, seed=5)
    has[:] = np.arange(12)[:, None] % 3 == np.arange(3)
    has = np.hstack([has, np.zeros((12, 1), dtype=bool)])  # no text has label 3
    has[0, 2] |= not alone
    if alone:  # names count as texts
        has[3:] = False
    blocks = EncoderBlocks([Silent("first", 4), Silent("second", 6)])
    names = torch.tensor(np.random.default_rng(3).normal(size=(n_names, 10)))

    def space(x: np.ndarray) -> Space:
        return fit_label_space(torch.tensor(x), torch.tensor(has), blocks, prior, names)[0]

    fitted = space(x)
    shares = centre_shares(torch.tensor(has), n_names, fitted.weights, blocks.names, prior)
    for i in range(12):
        moved = x.copy()
        moved[i] += 1e-3
        by_block = ((space(moved).centre - fitted.centre) / 1e-3).split([4, 6])
        expected = sum(float(w * part.mean()) for w, part in zip(fitted.weights, by_block, strict=True))
        assert float(shares[i]) == pytest.approx(expected, abs=1e-4)


def test_oracle_a_space_is_centred_scaled_and_weighed_by_what_is_known_before() -> None:
    x, has = drawn(15, 10, 3, seed=12)
    x[x < -0.2] = 0  # counts that few texts have
    x[:3, :4] = 0  # texts that the first encoder cannot read
    has[:2] = [[True, False, False], [False, True, True]]
    logits = {"first": (0.5, -0.2, 0.9), "second": (-0.3, 0.4, 0.1)}
    blocks, prior = EncoderBlocks([Silent("first", 4), Silent("second", 6, is_counts=True)]), Prior(logits)
    found, _ = fit_label_space(torch.tensor(x), torch.tensor(has), blocks, prior, torch.zeros(0, 10).double())

    scale = np.ones(10)
    scale[4:] = np.log(16 / (1 + (x[:, 4:] != 0).sum(0))) + 1
    np.testing.assert_allclose(found.scale.numpy(), scale, rtol=1e-5)
    assert scale[4:].max() > 1.1
    parts, read = [], []
    for columns in (slice(0, 4), slice(4, 10)):
        rows = (x * scale)[:, columns]
        reads = (rows != 0).any(1)
        centre = np.mean([rows[has[:, label] & reads].mean(0) for label in range(3)], axis=0)
        np.testing.assert_allclose(found.centre.numpy()[columns], centre, rtol=1e-5, atol=1e-7)
        parts.append((rows - centre) / np.linalg.norm(rows - centre, axis=1, keepdims=True) * reads[:, None])
        read.append(reads.mean())
    before = np.array([np.dot(w, [1, np.log(3), np.log1p(has.sum(0).mean())]) for w in logits.values()])
    before = np.exp(before) * read / (np.exp(before) * read).sum()
    assert read[0] == 0.8
    expected, _ = weigh_by_labels([torch.tensor(part) for part in parts], torch.tensor(has), torch.tensor(before), 30.0)
    np.testing.assert_allclose(found.weights.numpy(), expected.numpy(), atol=1e-5)


def test_names_count_as_texts_where_no_label_has_two() -> None:
    one, two = torch.eye(2) > 0, torch.tensor([[True, False], [True, True]])
    assert [names_count(one, 2), names_count(one, 0), names_count(two, 2)] == [True, False, False]


def test_left_out_scores_are_like_those_of_texts_that_are_asked() -> None:
    """What texts get around a centre that lacks them is, in the mean, what other texts get."""
    rng, sums = np.random.default_rng(6), []
    has = np.arange(60)[:, None] % 3 == np.arange(3)
    for _ in range(40):
        x, asked = rng.normal(size=(60, 20)), rng.normal(size=(200, 20))
        centre = x.mean(0)
        x, asked = ((rows - centre) / np.linalg.norm(rows - centre, axis=1, keepdims=True) for rows in (x, asked))
        given = torch.tensor(x), torch.tensor(has), torch.zeros(0, 20, dtype=torch.float64), 1.0
        with_itself, apart = (RidgePath.of(*given, torch.full((60,), share)) for share in (0.0, 1 / 60))
        weights = apart.weights(3.0).numpy()
        sums.append(
            [(asked @ weights.T).sum(1).mean(), *(float(p.left_out(3.0).sum(1).mean()) for p in (apart, with_itself))]
        )
    of_asked, of_apart, of_with_itself = np.mean(sums, axis=0)
    assert abs(of_apart - of_asked) < 0.03
    assert of_with_itself < of_asked - 0.15


@pytest.mark.parametrize("texts", [12, 40, 200])
def test_oracle_the_ridge_is_the_likeliest_drawn_towards_the_usual_one(texts: int) -> None:
    x, has = drawn(texts, 8, 3, seed=8)
    has[:, 2] = False
    has[3, 2] = True  # one text alone has label 2, so it says nothing
    path = RidgePath.of(torch.tensor(x), torch.tensor(has), torch.zeros(0, 8).double(), 1.0, torch.zeros(texts))
    by_ridge = {}
    for ridge in (0.1, 0.3, 1.0, 3.0, 10.0):
        scores = path.left_out(ridge).numpy()
        p = fit_odds(scores, has, has.sum(0) > 1).probabilities(scores)[:, :2]
        by_ridge[ridge] = np.log(np.where(has[:, :2], p, 1 - p)).sum()
    best, count = max(by_ridge, key=lambda ridge: by_ridge[ridge]), has[:, :2].any(1).sum()
    share = count / (count + 30)
    drawn_ridge = best**share * 3 ** (1 - share)
    fit = fit_heads(path)
    assert fit.ridge == min(by_ridge, key=lambda ridge: max(ridge / drawn_ridge, drawn_ridge / ridge))
    assert best != 3
    np.testing.assert_allclose(fit.scores, path.left_out(fit.ridge).numpy())
    np.testing.assert_allclose(fit.probabilities, fit.odds.probabilities(fit.scores))


def test_the_ridge_is_chosen_by_labels_that_other_texts_have_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labels of four texts choose it, not the sixty that have one text each."""
    x, _ = drawn(68, 40, 2, seed=1)
    has = np.zeros((68, 62), dtype=bool)
    has[np.arange(60), 2 + np.arange(60)] = True
    has[60:64, 0] = has[64:, 1] = True
    x[60:64, 0] += 0.15
    x[64:, 0] -= 0.15
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    path = RidgePath.of(torch.tensor(x), torch.tensor(has), torch.zeros(0, 40).double(), 1.0, torch.zeros(68))
    counted, by_ridge, of_all = has.sum(0) > 1, {}, {}
    for ridge in (0.1, 0.3, 1.0, 3.0, 10.0):
        scores = path.left_out(ridge).numpy()
        p = fit_odds(scores, has, counted).probabilities(scores)
        likelihood = np.log(np.where(has, p, 1 - p))
        by_ridge[ridge], of_all[ridge] = likelihood[:, :2].sum(), likelihood.sum()
    best, other = (max(values, key=lambda ridge: values[ridge]) for values in (by_ridge, of_all))
    assert best != other
    asked = []

    def drawn_to_one(likeliest: float, n_texts: int) -> float:
        asked.append((likeliest, n_texts))
        return 1.0

    monkeypatch.setattr("meta_text.model.label_heads.drawn_ridge", drawn_to_one)
    fit = fit_heads(path)
    assert asked == [(best, 8)] and fit.ridge == 1
    np.testing.assert_allclose(fit.odds.biases, fit_odds(path.left_out(1.0).numpy(), has, counted).biases)


def test_a_ridge_is_drawn_towards_three_which_counts_as_thirty_texts() -> None:
    """By hand: .1 ** .6 * 3 ** .4 = .39, 10 ** .6 * 3 ** .4 = 6.2, and 10 ** (1 / 3) * 3 ** (2 / 3) = 4.5."""
    assert [drawn_ridge(0.1, 45), drawn_ridge(10.0, 45), drawn_ridge(10.0, 15)] == [0.3, 10.0, 3.0]


@pytest.mark.parametrize(("named", "expected"), [(False, [False, False, True]), (True, [False, True, True])])
def test_a_label_counts_if_it_is_known_by_something_else(named: bool, expected: list[bool]) -> None:
    has = torch.tensor([[False, True, True], [False, False, True]])
    names = torch.ones(3 * named, 4)
    assert counted_labels(RidgePath.of(torch.ones(2, 4), has, names, 1.0, torch.zeros(2))).tolist() == expected


def test_without_a_text_to_leave_out_the_ridge_is_the_usual_one() -> None:
    path = RidgePath.of(torch.eye(3), torch.eye(3) > 0, torch.zeros(0, 3), 1.0, torch.zeros(3))
    assert fit_heads(path).ridge == 3


def test_a_head_answers_as_scores_and_odds_do() -> None:
    x, has = drawn(30, 8, 3, seed=9)
    path = RidgePath.of(torch.tensor(x), torch.tensor(has), torch.zeros(0, 8).double(), 1.0, torch.zeros(30))
    fit, head = fit_heads(path), learn_heads(path, torch.zeros(0, path.rows.shape[1]))["head"].double().numpy()
    expected = fit.odds.log_odds(x @ path.weights(fit.ridge).numpy().T)
    np.testing.assert_allclose(x @ head[:, :-1].T + head[:, -1], expected, atol=1e-4)


def solved_anew(kernel: np.ndarray, has: np.ndarray, ridge: float) -> np.ndarray:
    """The scores of each text, of regression onto the labels of all others with a free bias."""
    scores = []
    for i in range(len(has)):
        rest = np.delete(np.arange(len(has)), i)
        dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + 1 + ridge * np.eye(len(rest)), has[rest].astype(float))
        scores.append((kernel[i, rest] + 1) @ dual)
    return np.array(scores)


def really_likely(kernel: np.ndarray, has: np.ndarray, counted: np.ndarray) -> float:
    """The best summed log-likelihood, solving anew without each text; each label against those that the text lacks."""
    best = -np.inf
    for ridge in KERNEL_RIDGES:
        answers = solved_anew(kernel, has, ridge)
        for scale in SCALES:
            total = 0.0
            for row, own, counts in zip(answers, has, counted, strict=True):
                found = []
                for label in np.flatnonzero(counts):
                    rivals = np.exp(scale * row[~own]).sum() + np.exp(scale * row[label])
                    found.append(np.log(np.exp(scale * row[label]) / rivals))
                total += float(np.mean(found)) if found else 0.0
            best = max(best, total)
    return best


def test_oracle_encoders_are_weighed_by_labels_really_left_out() -> None:
    x, has = drawn(14, 10, 3, seed=2)
    has[:, 2] = False
    has[3, 2] = True  # one text alone has label 2, so it cannot be left out
    parts = [x[:, :4], x[:, 4:]]
    kernels = np.array([part @ part.T for part in parts])
    counted = has & (has.sum(0) > 1)
    grid = weight_grid(2).numpy()
    values = np.array([really_likely(np.tensordot(row, kernels, 1), has, counted) for row in grid])
    posterior = np.exp(values - values.max())
    share = counted.any(1).sum() / (counted.any(1).sum() + 20.0)
    expected = share * (posterior / posterior.sum()) @ grid + (1 - share) * np.array([0.3, 0.7])
    assert expected.min() > LEAST_WEIGHT
    found, hits = weigh_by_labels(
        [torch.tensor(part) for part in parts], torch.tensor(has), torch.tensor([0.3, 0.7]).double(), 20.0
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert hits[0] == counted.any(1).sum() and (hits[1:] <= hits[0]).all()


def really_right(kernel: np.ndarray, has: np.ndarray, counted: np.ndarray) -> int:
    """How many texts with a counted label have their highest score at a label of theirs, at the likeliest ridge."""
    found = []
    for ridge in KERNEL_RIDGES:
        scores = solved_anew(kernel, has, ridge)
        likelihood = -np.inf
        for scale in SCALES:
            total = 0.0
            for row, own, counts in zip(scale * scores, has, counted, strict=True):
                each = [row[n] - np.logaddexp.reduce([row[n], *row[~own]]) for n in np.flatnonzero(counts)]
                total += float(np.mean(each)) if each else 0.0
            likelihood = max(likelihood, total)
        right = [own[np.argmax(row)] for row, own, counts in zip(scores, has, counted, strict=True) if counts.any()]
        found.append((likelihood, int(np.sum(right))))
    return max(found)[1]


@pytest.mark.parametrize("seed", [1, 95])
def test_oracle_hits_are_texts_whose_likeliest_label_is_right(seed: int) -> None:
    """With seed 95, a text of which no label counts would be right, too."""
    x, has = drawn(14, 10, 3, seed=seed)
    has[:, 2] = False
    has[3] = [False, False, True]
    counted = has & (has.sum(0) > 1)
    one, hits = weigh_by_labels([torch.tensor(x)], torch.tensor(has), torch.tensor([1.0]).double(), 20.0)
    right = really_right(x @ x.T, has, counted)
    assert one.tolist() == [1.0] and hits.tolist() == [counted.any(1).sum(), right, right]
    assert 0 < right < counted.any(1).sum()


def test_an_encoder_of_hardly_any_weight_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of 80 texts against a prior of 30, .05 * 30 / 110 = .014 is below .02, and .15 * 30 / 110 = .041 is not."""
    monkeypatch.setattr("meta_text.model.label_space.weight_grid", lambda n_blocks: torch.tensor([[1.0, 0.0]]))
    has = np.repeat(np.eye(2), 40, axis=0) > 0
    parts = [torch.tensor(has.astype(float))] * 2
    found = [
        weigh_by_labels(parts, torch.tensor(has), torch.tensor([1 - w, w]).double(), 30.0)[0] for w in (0.05, 0.15)
    ]
    assert found[0].tolist() == [1.0, 0.0]
    assert found[1].tolist() == pytest.approx([1 - 0.15 * 30 / 110, 0.15 * 30 / 110])


def test_a_single_label_tells_nothing_apart() -> None:
    two_of_one = torch.tensor([[True, False], [True, False], [False, True]])
    assert not can_be_left_out(two_of_one).any()
    two_of_each = torch.cat([two_of_one, torch.tensor([[False, True]])])
    assert torch.equal(can_be_left_out(two_of_each), two_of_each)


def test_with_one_label_each_the_likelihood_is_that_of_classes() -> None:
    x, _ = drawn(12, 6, 3)
    labels = torch.tensor([0, 1, 2] * 4)
    has, kernel = torch.eye(3)[labels] > 0, torch.tensor(x @ x.T)
    ours, _ = best_likelihood(kernel, has, can_be_left_out(has))
    theirs = left_out_likelihood(kernel, labels, 3, torch.ones(12, dtype=torch.bool))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_oracle_odds_are_the_likeliest_under_the_prior() -> None:
    x, has = drawn(40, 6, 4, seed=3)
    has[:, 3] = False
    has[7, 3] = True
    scores, counted = x[:, :4] / 10, has.sum(0) > 1
    found = fit_odds(scores, has, counted)
    shots, sums = has.sum(0).mean(), scores.sum(1, keepdims=True)
    rate = (has.sum() + 0.5) / (has.size + 1)
    prior = np.array([25.0, -40 / 9, logit(rate) - 0.45 * np.log(shots)])

    def loss(w: np.ndarray) -> float:
        odds = (w[0] * scores + w[1] * sums + w[2])[:, counted]
        fit = np.logaddexp(0, np.where(has[:, counted], -odds, odds)).sum()
        return float(fit + (((w - prior) / [10.0, 5.0, 0.5]) ** 2).sum() / 2)

    best = minimize(loss, prior, method="BFGS", options={"gtol": 1e-8}).x
    assert [found.slope, found.sum_slope] == pytest.approx(best[:2], rel=1e-3)
    for label in range(4):
        odds = (best[0] * scores + best[1] * sums + best[2])[:, label]

        def own(b: np.ndarray, odds: np.ndarray = odds, label: int = label) -> float:
            fit = np.logaddexp(0, np.where(has[:, label], -odds - b[0], odds + b[0])).sum()
            return float(fit + (b[0] / 0.3) ** 2 / 2)

        more = minimize(own, [0.0], method="BFGS").x[0] if counted[label] else 0.0
        assert found.biases[label] == pytest.approx(best[2] + more, abs=1e-3)
    odds = found.slope * scores + found.sum_slope * sums + found.biases
    np.testing.assert_allclose(found.probabilities(scores), 1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize("seed", range(3))
def test_oracle_odds_of_labels_that_scores_tell_almost_without_mistake(seed: int) -> None:
    """There Newton's steps from the taught odds run away."""
    rng = np.random.default_rng(seed)
    has = rng.random((200, 6)) < 0.25
    scores = has + rng.normal(size=has.shape) * 0.15
    found = fit_odds(scores, has, np.ones(6, dtype=bool))
    prior = np.array([25.0, -40 / 11, logit((has.sum() + 0.5) / (has.size + 1)) - 0.45 * np.log(has.sum(0).mean())])

    def loss(w: np.ndarray) -> float:
        odds = w[0] * scores + w[1] * scores.sum(1, keepdims=True) + w[2]
        fit = np.logaddexp(0, np.where(has, -odds, odds)).sum()
        return float(fit + (((w - prior) / [10.0, 5.0, 0.5]) ** 2).sum() / 2)

    best = minimize(loss, prior, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 5000})
    assert [found.slope, found.sum_slope] == pytest.approx(best.x[:2], abs=1e-2)
    log_odds = found.log_odds(scores)
    np.testing.assert_allclose(found.probabilities(scores), expit(log_odds))
    p = expit(log_odds)
    np.testing.assert_allclose(found.log_likelihoods(scores, has), np.log(np.where(has, p, 1 - p)), atol=1e-6)


def test_oracle_thresholds_go_from_counts_to_f1_to_a_labels_own_count() -> None:
    rng = np.random.default_rng(4)
    has = rng.random((50, 3)) < [0.4, 0.2, 0.1]
    has[:, 2] = False
    has[0, 2] = True
    p = expit(2 * has - 1 + rng.normal(size=has.shape))
    counted = has.sum(0) > 1
    pairs, flags = p[:, counted].ravel(), has[:, counted].ravel()
    by_threshold = {t: f1_score(flags, pairs >= t) for t in pairs}
    best = max(by_threshold.values())
    assert by_threshold[best_f1(pairs, flags)] == best
    start = np.quantile(p, 1 - 1.2 * has.mean())
    occurrences = has[:, counted].sum()
    share = occurrences / (occurrences + 100)
    overall = (1 - share) * logit(start) + share * logit(best_f1(pairs, flags))
    expected = []
    for label in range(3):
        count = has[:, label].sum()
        share = count / (count + 10) if counted[label] else 0
        own = np.quantile(p[:, label], 1 - has[:, label].mean())
        expected.append(expit((1 - share) * overall + share * logit(own)))
    np.testing.assert_allclose(fit_thresholds(p, has, counted), expected, rtol=1e-9)


def test_without_two_texts_of_any_label_odds_are_what_was_taught() -> None:
    scores, has = np.array([[0.2, 0.1], [0.0, 0.3]]), np.eye(2, dtype=bool)
    found = fit_odds(scores, has, np.array([False, False]))
    assert (found.slope, found.sum_slope) == (25.0, -40 / 7)
    assert found.biases == pytest.approx([0.0, 0.0])  # each label has half of the texts


def test_without_texts_there_is_what_was_taught() -> None:
    nothing, none = np.zeros((0, 3)), np.zeros(3, dtype=bool)
    assert fit_odds(nothing, nothing > 0, none).biases == pytest.approx([np.log(1 / 3)] * 3)  # one label of four
    assert fit_thresholds(nothing, nothing > 0, none).tolist() == [0.2] * 3


def test_certain_answers_give_thresholds_that_can_be_reached() -> None:
    has = np.repeat(np.eye(2), 4, axis=0) > 0
    thresholds = fit_thresholds(has.astype(float), has, np.array([True, True]))
    assert np.isfinite(thresholds).all() and (thresholds > 0).all() and (thresholds < 1).all()


# audit


def test_oracle_the_audit_counts_what_is_left_out(known: MultiLabelFewShotClassifier) -> None:
    audit, adapted = known.audit(), known.adaptation_
    order = [TEXTS.index(text) for text in adapted.given.texts]
    has, p = MATRIX[order], adapted.left_out()
    given = p >= known.thresholds_
    assert audit.checked == len(TEXTS) and audit.skipped == ()
    assert audit.right == (given == has).all(1).mean()
    assert audit.f1_micro == f1_score(has, given, average="micro")
    assert audit.f1_macro == f1_score(has, given, average="macro")
    some = has.any(1)
    assert audit.ranking == label_ranking_average_precision_score(has[some], p[some])
    assert audit.low < audit.right < audit.high
    for doubt in audit.doubts:
        place = adapted.given.texts.index(doubt.text), known.classes_.tolist().index(doubt.label)
        assert doubt.has == has[place] != given[place] and doubt.probability == p[place]
    assert str(audit).startswith(f"leave-one-out over {len(TEXTS)} texts: all labels right for ")


def test_planted_mistakes_are_doubted(model: MetaModel) -> None:
    texts = [f"my card {i}" for i in range(8)] + [f"the bank {i}" for i in range(8)]
    sets = [["card"]] * 8 + [["bank"]] * 8
    wrong = [["bank"], *sets[1:]]
    doubts = MultiLabelFewShotClassifier(model).fit(texts, wrong).audit().doubts
    assert {(doubt.label, doubt.has) for doubt in doubts if doubt.text == "my card 0"} == {
        ("bank", True),
        ("card", False),
    }
    assert [str(doubt).split(" ")[0] for doubt in doubts[:2]] in (["wrong?", "missing?"], ["missing?", "wrong?"])


def test_too_few_texts_are_said(model: MetaModel) -> None:
    audit = MultiLabelFewShotClassifier(model).fit(["my card", "the bank"], [["card"], ["bank"]]).audit()
    assert audit.checked == 0 and np.isnan(audit.f1_micro)
    assert "a label with two texts is needed" in audit.summary() and "read by" in audit.summary()
    one = (
        MultiLabelFewShotClassifier(model).fit(["my card", "card", "the bank"], [["card"], ["card"], ["bank"]]).audit()
    )
    assert (
        one.skipped == ("bank",) and "1 label with fewer than 2 texts is not checked, such as 'bank'" in one.summary()
    )


# edits


def test_edits_are_as_fitting_anew(known: MultiLabelFewShotClassifier) -> None:
    known.add_examples(["a b", "MY card"], [["bank"], ["card"]])
    known.add_label("lost", ["my card is lost", "lost lost"])
    known.remove_examples(["card gone"])
    sets = [[*one, "lost"] if text == "my card is lost" else one for text, one in zip(TEXTS, SETS, strict=True)]
    kept = [i for i, text in enumerate(TEXTS) if text != "card gone"]
    texts = [TEXTS[i] for i in kept] + ["a b", "MY card", "lost lost"]
    anew = clone(known).fit(texts, [sets[i] for i in kept] + [["bank"], ["card"], ["lost"]])
    assert known.classes_.tolist() == ["bank", "card", "lost"] and known.support_ == anew.support_
    np.testing.assert_allclose(known.predict_proba(ASKED), anew.predict_proba(ASKED), atol=1e-6)
    known.remove_label("lost")
    assert known.classes_.tolist() == ["bank", "card"] and "lost lost" in known.adaptation_.given.texts


def test_texts_are_read_once_by_each_model(model: MetaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    represent = MetaModel.represent

    def counted(self: MetaModel, texts: Any, *args: Any, **options: Any) -> Represented:
        read.append(list(texts))
        return represent(self, texts, *args, **options)

    monkeypatch.setattr(MetaModel, "represent", counted)
    known = MultiLabelFewShotClassifier(model)
    with warnings.catch_warnings(action="ignore"):
        known.fit([*TEXTS, "bank " * 600], [*SETS, ["bank"]])
        known.fit([*TEXTS, "bank " * 600, "a new one"], [*SETS, ["bank"], []])
    assert [len(texts) for texts in read] == [10, 1]
    assert known.n_cut_ == 1  # though it was not read again
    known.set_params(model=untrained(two_encoders(tmp_path))).fit(TEXTS, SETS)
    assert sorted(read[-1]) == sorted(TEXTS)
    assert known.n_cut_ == 0


def test_names_follow_edits(model: MetaModel) -> None:
    known = MultiLabelFewShotClassifier(model, label_names=True).fit(TEXTS, SETS)
    known.add_label("a_query", [])
    assert known.adaptation_.given.names == ("a query", "bank", "card")
    known.remove_label("bank")
    assert known.adaptation_.given.names == ("a query", "card")


BAD_EDITS: dict[str, tuple[Callable[[MultiLabelFewShotClassifier], Any], str]] = {
    "unknown label": (
        lambda c: c.add_examples(["a"], [["x"]]),
        r"unknown label 'x'; add it first, with add_label\('x', texts\)",
    ),
    "there already": (
        lambda c: c.add_label("card", ["a"]),
        "label 'card' is there already; give it more texts with add_ex",
    ),
    "no text": (lambda c: c.add_label("x", []), "label 'x' has no text; give it at least one"),
    "no names": (lambda c: c.add_label("x", ["a"], "words"), "a description has no effect without label names"),
    "kind": (lambda c: c.add_label(3, ["a"]), "label 3 is int but the other classes are str"),
    "gone": (lambda c: c.remove_label("x"), "unknown label 'x'; use one of 'bank', 'card'"),
    "strange": (lambda c: c.remove_examples(["never seen"]), "1 text never learned, such as 'never seen'"),
    "score": (lambda c: c.score(["a"], [["x"]]), "unknown label 'x' in y; use 'bank', 'card'"),
}


@pytest.mark.parametrize("case", BAD_EDITS)
def test_bad_edits_change_nothing(case: str, known: MultiLabelFewShotClassifier) -> None:
    call, message = BAD_EDITS[case]
    before = known.predict_proba(ASKED)
    with pytest.raises(InputError, match=message):
        call(known)
    np.testing.assert_array_equal(known.predict_proba(ASKED), before)


def test_one_text_of_all_labels_has_thresholds(model: MetaModel) -> None:
    known = MultiLabelFewShotClassifier(model).fit(["my card b the bank", "query : a"], [["bank", "card"], []])
    assert ((known.thresholds_ > 0) & (known.thresholds_ < 1)).all()
    assert np.isfinite(known.predict_proba(ASKED)).all()


def test_a_text_with_a_label_stays(known: MultiLabelFewShotClassifier, model: MetaModel) -> None:
    before = known.predict_proba(ASKED)
    with pytest.raises(InputError, match="no text with a label would be left; keep one, or fit again to start over"):
        known.remove_examples(TEXTS[:8])
    np.testing.assert_array_equal(known.predict_proba(ASKED), before)
    named = MultiLabelFewShotClassifier(model, label_names=True).fit(TEXTS, SETS)
    named.remove_examples(TEXTS[:8])  # names are enough
    assert named.predict_proba(ASKED).shape == (4, 2)


def test_the_last_label_stays(known: MultiLabelFewShotClassifier) -> None:
    known.remove_label("bank")
    with pytest.raises(InputError, match="label 'card' is the only one; fit again to start over"):
        known.remove_label("card")


# files


@pytest.mark.parametrize("names", [False, True, {"bank": "money", "card": "plastic"}])
def test_saved_and_loaded_it_answers_the_same(names: Any, model: MetaModel, tmp_path: Path) -> None:
    known = MultiLabelFewShotClassifier(model, label_names=names).fit(TEXTS, SETS)
    known.save_pretrained(tmp_path / "saved", include_support=True)
    again = MultiLabelFewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(ASKED), known.predict_proba(ASKED))
    np.testing.assert_array_equal(again.thresholds_, known.thresholds_)
    assert again.label_names == names and again.support_ == known.support_ and str(again.audit()) == str(known.audit())
    again.add_label("lost", ["lost my card"])
    assert again.classes_.tolist() == ["bank", "card", "lost"]
    card = (tmp_path / "saved" / "README.md").read_text("utf-8")
    assert "MultiLabelFewShotClassifier.from_pretrained" in card and "bank, card" in card


def test_without_texts_it_answers_but_cannot_change(known: MultiLabelFewShotClassifier, tmp_path: Path) -> None:
    known.save_pretrained(tmp_path / "saved")
    again = MultiLabelFewShotClassifier.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(ASKED), known.predict_proba(ASKED))
    assert not (tmp_path / "saved" / "support.jsonl").exists()
    for call in (again.audit, lambda: again.add_label("lost", ["lost"])):
        with pytest.raises(
            InputError, match=r"saved without its labelled texts, so .*; save it with include_support=True"
        ):
            call()


def test_each_class_says_which_one_loads_a_folder(known: MultiLabelFewShotClassifier, tmp_path: Path) -> None:
    known.save_pretrained(tmp_path / "several")
    fitted().save_pretrained(tmp_path / "one")
    FewShotClassifier(small_model()).save_pretrained(tmp_path / "none")
    with pytest.raises(
        ModelFileError, match="labels of which a text may have several; load it with MultiLabelFewShotClass"
    ):
        FewShotClassifier.from_pretrained(tmp_path / "several")
    with pytest.raises(
        ModelFileError, match="may have several; it has classes, one for each text: load it with FewShot"
    ):
        MultiLabelFewShotClassifier.from_pretrained(tmp_path / "one")
    with pytest.raises(ModelFileError, match="holds no labels of which a text may have several; fit one"):
        MultiLabelFewShotClassifier.from_pretrained(tmp_path / "none")


def _config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / "config.json").read_text("utf-8"))
    change(values["multilabel"])
    (folder / "config.json").write_text(json.dumps(values), "utf-8")


SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "labels": (
        lambda f: _config(f, lambda c: c.update(labels=["bank", "cart"])),
        "are not those that were saved; change labels",
    ),
    "field": (lambda f: _config(f, lambda c: c.pop("texts")), "config.json, multilabel: 'texts' is missing"),
    "task": (
        lambda f: (f / "task.safetensors").write_bytes((f / "task.safetensors").read_bytes()[:-1] + b"x"),
        "task.safetensors is not the file that config.json describes",
    ),
    "task gone": (lambda f: (f / "task.safetensors").unlink(), "task.safetensors cannot be read"),
    "texts": (
        lambda f: (f / "support.jsonl").write_text('{"text": "a", "labels": []}\n'),
        "does not hold the texts that were learned; change them through the classifier",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_folders_are_refused_in_words(case: str, known: MultiLabelFewShotClassifier, tmp_path: Path) -> None:
    spoil, message = SPOILED[case]
    known.save_pretrained(tmp_path / "saved", include_support=True)
    spoil(tmp_path / "saved")
    with pytest.raises(ModelFileError, match=message):
        MultiLabelFewShotClassifier.from_pretrained(tmp_path / "saved")


def test_nothing_is_left_where_saving_fails(
    known: MultiLabelFewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("meta_text.saving.label_folder.write_card", broken)
    with pytest.raises(OSError, match="disk full"):
        known.save_pretrained(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_audit_is_that_of_the_function(known: MultiLabelFewShotClassifier) -> None:
    assert audit_labels(known.adaptation_) == known.audit()


def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "several_labels.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, "several_labels.md", "exec"), names)
    assert names["again"].predict_labels(names["texts"]) == names["classifier"].predict_labels(names["texts"])


def test_examples_of_one_label_are_no_reason_for_a_warning(known: MultiLabelFewShotClassifier) -> None:
    known.add_examples(["bank b"], [["bank"]])  # warnings are errors here
    known.add_examples(["a b"], [[]])
    assert "bank b" in known.support_["bank"] and "a b" in known.adaptation_.given.texts
