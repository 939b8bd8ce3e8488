"""Unlabelled texts where a text may have several labels: oracles of what they add, and what becomes of them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import Ridge
from small_mixture import two_encoders, untrained
from test_multilabel import ASKED, SETS, TEXTS

from meta_text import MultiLabelFewShotClassifier
from meta_text.errors import InputError, ModelFileError
from meta_text.model import label_pool
from meta_text.model.label_calibration import Odds
from meta_text.model.label_heads import UNKNOWN_LABEL, learn_heads
from meta_text.model.label_pool import pool_sentence, smoothed, taught_by
from meta_text.model.label_ridge import RidgePath
from meta_text.model.model import MetaModel

WORDS = ("my", "card", "is", "lost", "where", "the", "bank", "gone", "a", "b")
POOL = [" ".join(words) for words in itertools.permutations(WORDS, 3)][:240:2]
ODDS = Odds(9.0, -2.0, np.array([-1.0, -0.5, -2.0]))


def drawn(texts: int, pool: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of length 1 of labelled and of unlabelled texts, and which of three labels the former have."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(3, width))
    has = rng.random((texts, 3)) < 0.4
    has[:3] |= np.eye(3, dtype=bool)
    vectors = [
        some @ middles + rng.normal(size=(len(some), width))
        for some in (has, (rng.random((pool, 3)) < 0.4).astype(float))
    ]
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors)
    return first, second, has


def path_of(texts: np.ndarray, has: np.ndarray, names: np.ndarray | None = None) -> RidgePath:
    named = torch.zeros(0, texts.shape[1]) if names is None else torch.tensor(names)
    return RidgePath.of(torch.tensor(texts), torch.tensor(has), named, 2.0, torch.full((len(texts),), 0.1))


def smoothed_by_hand(texts: np.ndarray, has: np.ndarray, pool: np.ndarray, probable: np.ndarray) -> np.ndarray:
    """Each answer handed to neighbours again and again."""
    rows = np.vstack([texts, pool])
    weights = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        cosines = rows @ row
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -cosines[j])[:10]
        for j in others:
            weights[i, j] = weights[j, i] = np.exp(5 * (cosines[j] - 1))
    shares = weights / weights.sum(1, keepdims=True)
    start = np.vstack([has, probable])
    answers = start.copy()
    for _ in range(200):
        answers = 0.5 * shares @ answers + 0.5 * start
    return np.asarray(answers[len(texts) :])


def test_oracle_answers_are_handed_to_neighbours() -> None:
    texts, pool, has = drawn(8, 40, 6)
    probable = np.random.default_rng(1).random((40, 3))
    found = smoothed(*map(torch.tensor, (texts, has.astype(float), pool, probable)))
    np.testing.assert_allclose(found.numpy(), smoothed_by_hand(texts, has, pool, probable), atol=1e-12)


def test_few_texts_have_fewer_neighbours() -> None:
    texts, pool, has = drawn(3, 2, 6)
    found = smoothed(*map(torch.tensor, (texts, has.astype(float), pool, np.full((2, 3), 0.5))))
    assert ((found > 0) & (found < 1)).all()


def test_of_many_labelled_texts_some_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, pool, has = drawn(30, 40, 6)
    probable = np.random.default_rng(1).random((40, 3))
    monkeypatch.setattr(label_pool, "MOST_POOL", 7)
    kept = [0, 4, 9, 14, 19, 24, 29]
    found = smoothed(*map(torch.tensor, (texts, has.astype(float), pool, probable)))
    np.testing.assert_allclose(found.numpy(), smoothed_by_hand(texts[kept], has[kept], pool, probable), atol=1e-12)


def by_ridge(path_rows: list[np.ndarray], targets: list[np.ndarray], weights: list[float], ridge: float) -> np.ndarray:
    """Weights [labels, width] of scikit-learn."""
    counts = np.concatenate([np.full(len(rows), weight) for rows, weight in zip(path_rows, weights, strict=True)])
    fitted = Ridge(alpha=ridge, fit_intercept=False).fit(np.vstack(path_rows), np.vstack(targets), counts)
    return np.asarray(fitted.coef_)


@pytest.mark.parametrize("width", [5, 200])
@pytest.mark.parametrize("named", [False, True])
def test_oracle_further_texts_count_as_much_as_is_said(width: int, named: bool) -> None:
    texts, pool, has = drawn(8, 40, width)
    soft = np.random.default_rng(1).random((40, 3))
    names = texts[:3] if named else None
    found = path_of(texts, has, names).weights_beside(torch.tensor(pool), torch.tensor(soft), 0.25, 1.5)
    rows, targets, weights = [texts, pool], [has.astype(float), soft], [1.0, 0.25]
    if named:
        rows, targets, weights = [*rows, texts[:3]], [*targets, np.eye(3)], [*weights, 2.0]
    np.testing.assert_allclose(found.numpy(), by_ridge(rows, targets, weights, 1.5), atol=1e-10)


def test_oracle_a_head_is_the_mean_of_both_opinions_with_labels_as_frequent_as_before() -> None:
    texts, pool, has = drawn(8, 150, 12)
    ridge, is_known = 1.5, np.array([True, True, True])
    own = by_ridge([texts], [has.astype(float)], [1.0], ridge)

    def log_odds(scores: np.ndarray) -> np.ndarray:
        return np.asarray(ODDS.slope * scores + ODDS.sum_slope * scores.sum(1, keepdims=True) + ODDS.biases)

    alone = log_odds(pool @ own.T)
    soft = smoothed_by_hand(texts, has, pool, expit(alone))
    taught = by_ridge([texts, pool], [has.astype(float), soft], [1.0, 0.3], ridge)
    wide, narrow = (pool @ own.T).std(ddof=1), (pool @ taught.T).std(ddof=1)
    both = (alone + log_odds(pool @ taught.T * wide / narrow)) / 2

    heads = taught_by(torch.tensor(pool), path_of(texts, has), ridge, ODDS, torch.tensor(is_known))
    found = heads.log_odds(torch.tensor(pool)).numpy()
    shift = found - both
    np.testing.assert_allclose(shift, shift[0, 0], atol=1e-9)
    assert abs(shift[0, 0]) > 1e-3
    assert expit(found).sum() == pytest.approx(expit(alone).sum(), abs=1e-6)


def test_fewer_than_a_hundred_change_nothing() -> None:
    texts, pool, has = drawn(8, 100, 12)
    known = torch.ones(3, dtype=torch.bool)
    alone = taught_by(torch.tensor(pool[:0]), path_of(texts, has), 1.5, ODDS, known)
    few = taught_by(torch.tensor(pool[:99]), path_of(texts, has), 1.5, ODDS, known)
    enough = taught_by(torch.tensor(pool), path_of(texts, has), 1.5, ODDS, known)
    assert torch.equal(alone.rows, few.rows) and torch.equal(alone.biases, few.biases)
    assert not torch.allclose(alone.rows, enough.rows)


def test_a_label_without_texts_is_given_to_none_of_them() -> None:
    texts, pool, has = drawn(8, 150, 12)
    has[:, 1] = False
    learned = learn_heads(path_of(texts, has), torch.tensor(pool))
    assert learned["head"][1].tolist() == [*[0.0] * 12, UNKNOWN_LABEL]
    assert learned["thresholds"][1] == 1
    known = [0, 2]
    alone = torch.tensor(pool) @ path_of(texts, has).weights(1.5).T
    heads = taught_by(torch.tensor(pool), path_of(texts, has), 1.5, ODDS, torch.tensor([True, False, True]))
    before, after = expit(ODDS.log_odds(alone.numpy())), expit(heads.log_odds(torch.tensor(pool)).numpy())
    assert after[:, known].sum() == pytest.approx(before[:, known].sum(), abs=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MetaModel:
    return untrained(two_encoders(tmp_path_factory.mktemp("encoders")))


def fitted(model: MetaModel, pool: list[str] | None = POOL) -> MultiLabelFewShotClassifier:
    return MultiLabelFewShotClassifier(model).fit(TEXTS, SETS, unlabeled=pool)


def test_texts_without_labels_change_the_answers(model: MetaModel) -> None:
    known, without = fitted(model), fitted(model, None)
    assert not np.allclose(known.predict_proba(ASKED), without.predict_proba(ASKED), atol=1e-3)
    np.testing.assert_array_equal(known.thresholds_, without.thresholds_)
    assert known.adaptation_.n_unlabelled == len(POOL) == 120
    # a text is answered alone as among them
    np.testing.assert_allclose(known.predict_proba(POOL)[:3], known.predict_proba(POOL[:3]), atol=1e-6)


def test_labelled_copied_and_blank_ones_do_not_count(model: MetaModel) -> None:
    known = fitted(model, [*POOL, POOL[0].upper(), TEXTS[0].upper(), " ", None])  # type: ignore[list-item]
    np.testing.assert_array_equal(known.predict_proba(ASKED), fitted(model).predict_proba(ASKED))


def test_their_order_does_not_count(model: MetaModel) -> None:
    np.testing.assert_array_equal(fitted(model, POOL[::-1]).predict_proba(ASKED), fitted(model).predict_proba(ASKED))


def test_all_blank_is_refused(model: MetaModel) -> None:
    with pytest.raises(InputError, match="unlabeled has no text that is not blank; give texts such as will be asked"):
        fitted(model, [" ", ""])


def test_of_many_the_first_by_their_hashes_are_read(model: MetaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta_text.model.multilabel.MOST_POOL", 101)
    known = fitted(model)
    assert known.adaptation_.n_unlabelled == 101
    assert known.adaptation_.given.pool == fitted(model, POOL[::-1]).adaptation_.given.pool


def test_edits_keep_them_and_fitting_anew_does_not(model: MetaModel) -> None:
    known = fitted(model)
    known.add_examples([POOL[7]], [["bank"]])
    anew = MultiLabelFewShotClassifier(model).fit([*TEXTS, POOL[7]], [*SETS, ["bank"]], unlabeled=POOL)
    assert known.adaptation_.n_unlabelled == anew.adaptation_.n_unlabelled == len(POOL) - 1
    np.testing.assert_array_equal(known.predict_proba(ASKED), anew.predict_proba(ASKED))
    known.add_label("lost", [TEXTS[1]])
    known.remove_label("lost")
    known.remove_examples([POOL[7]])
    assert known.adaptation_.n_unlabelled == len(POOL) - 1
    known.fit(TEXTS, SETS)
    assert known.adaptation_.n_unlabelled == 0 and known.adaptation_.given.pool == ()


def test_saved_they_are_where_the_labelled_texts_are(model: MetaModel, tmp_path: Path) -> None:
    known = fitted(model)
    known.save_pretrained(tmp_path / "whole", include_support=True)
    known.save_pretrained(tmp_path / "bare")
    assert not (tmp_path / "bare" / "unlabelled.jsonl").exists()
    for name in ("whole", "bare"):
        again = MultiLabelFewShotClassifier.from_pretrained(tmp_path / name)
        np.testing.assert_array_equal(again.predict_proba(ASKED), known.predict_proba(ASKED))
        assert again.adaptation_.n_unlabelled == len(POOL)
    again = MultiLabelFewShotClassifier.from_pretrained(tmp_path / "whole")
    assert again.audit().summary() == known.audit().summary()
    for one in (again, known):
        one.add_examples(["bank gone b"], [["bank"]])
    np.testing.assert_array_equal(again.predict_proba(ASKED), known.predict_proba(ASKED))


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text('{"text": "other"}\n')])
def test_a_changed_file_of_them_is_refused(change: object, model: MetaModel, tmp_path: Path) -> None:
    fitted(model).save_pretrained(tmp_path / "whole", include_support=True)
    change(tmp_path / "whole" / "unlabelled.jsonl")  # type: ignore[operator]
    with pytest.raises(ModelFileError, match=r"unlabelled\.jsonl does not hold the unlabelled texts that were learned"):
        MultiLabelFewShotClassifier.from_pretrained(tmp_path / "whole")


def test_the_audit_says_what_came_of_them(model: MetaModel) -> None:
    assert "labels were learned from 120 unlabelled texts, too" in fitted(model).audit().summary()
    few = fitted(model, POOL[:20]).audit()
    assert "20 unlabelled texts are too few to learn from; give 100 or more" in few.summary()
    assert few.right == fitted(model, None).audit().right
    assert pool_sentence(0) == "" and pool_sentence(1).startswith("1 unlabelled text is too few")
    assert pool_sentence(1500) == "labels were learned from 1,500 unlabelled texts, too"
