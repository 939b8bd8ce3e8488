"""What unlabelled texts say of those that will be asked: thresholds, expected accuracy, how often each class occurs."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from test_unlabelled import ASKED, CENTRES, POOL, TARGETS, WAYS, WIDTH, drawn, fitted

from meta_text import FewShotClassifier
from meta_text.classify import expected_accuracy as expecting
from meta_text.classify import pool_answers
from meta_text.errors import InputError
from meta_text.model.asked_texts import Belonging, belonging
from meta_text.model.unlabelled import Gathered

FEW_TEXTS = POOL[:99]
RNG = np.random.default_rng(5)
STRANGERS = 2 * RNG.normal(size=(225, WIDTH)) - 4 * CENTRES.mean(0)


def of_another_hand(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `drawn`, but further from the centres than the labelled texts are."""
    rng = np.random.default_rng(seed)
    return np.repeat(CENTRES, count, axis=0) + 3 * rng.normal(size=(WAYS * count, WIDTH)), np.repeat(list("abc"), count)


def refused(classifier: FewShotClassifier, texts: np.ndarray, rate: float) -> float:
    return float(np.mean([label is None for label in classifier.predict(texts, reject=rate)]))


# --- which texts belong


@pytest.mark.parametrize("others", [0.0, 0.25, 0.4])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_oracle_the_distributions_that_texts_were_drawn_from(others: float, shift: float) -> None:
    rng, count = np.random.default_rng(1), 20_000
    is_other = rng.random(count) < others
    values = np.where(is_other, rng.normal(-4.0, 0.9, count), rng.normal(shift, 1.2, count)).astype(np.float32)
    found = belonging(values, 0.0, 1.0)
    # without others, the lower tail of those that belong is in part taken for others
    slack = 1.0 if others else 2.5
    assert (found.mean, found.spread) == pytest.approx((shift, 1.2), abs=0.1 * slack)
    for rate in (0.01, 0.05, 0.2):
        assert norm.cdf(found.threshold_at(rate), shift, 1.2) == pytest.approx(rate, abs=0.03 * slack)
    assert found.shares.mean() == pytest.approx(1 - others, abs=0.03 * slack)


def test_oracle_of_few_texts_what_was_expected_counts_as_ten() -> None:
    found = belonging(np.full(5, 1.6), 1.0, 2.0)
    assert found.shares == pytest.approx(np.ones(5), abs=0.02)
    assert found.mean == pytest.approx((10 * 1.0 + 5 * 1.6) / 15, abs=0.005)
    assert found.spread == pytest.approx(math.sqrt((100 * 2.0**2 + 5 * 0.4**2) / 105), abs=0.01)


def test_threshold_of_a_normal_distribution() -> None:
    assert Belonging(2.0, 0.5, np.ones(1)).threshold_at(0.05) == pytest.approx(norm.ppf(0.05, 2.0, 0.5))


# --- the rate that is stated


@pytest.mark.parametrize("strangers", [False, True])
def test_what_is_stated_is_refused_of_texts_by_another_hand(strangers: bool) -> None:
    pool, asked = of_another_hand(150, 6)[0], of_another_hand(300, 7)[0]
    with_pool = fitted(5, np.concatenate([pool, STRANGERS]) if strangers else pool)
    without = fitted(5, None)
    for rate in (0.05, 0.1, 0.2):
        assert refused(with_pool, asked, rate) == pytest.approx(rate, abs=0.05)
    assert abs(refused(without, asked, 0.1) - 0.1) > 0.06
    assert refused(with_pool, STRANGERS, 0.2) > refused(with_pool, asked, 0.2)


def test_of_fewer_than_a_hundred_texts_thresholds_do_not_follow() -> None:
    assert fitted(5, FEW_TEXTS).adaptation_.corrections == fitted(5, None).adaptation_.corrections
    assert fitted(5, POOL[:100]).adaptation_.corrections != fitted(5, None).adaptation_.corrections


def test_how_certain_answers_are_does_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = fitted(5).adaptation_.task["familiar"]
    assert ours.tolist() == fitted(5, None).adaptation_.task["familiar"].tolist()


def test_thresholds_are_saved(tmp_path: Path) -> None:
    classifier = fitted(5, of_another_hand(150, 6)[0])
    classifier.save_pretrained(tmp_path)
    loaded = FewShotClassifier.from_pretrained(tmp_path, embedding="vectors", device="cpu")
    assert loaded.predict(ASKED, reject=0.1).tolist() == classifier.predict(ASKED, reject=0.1).tolist()


# --- the accuracy that is expected


@pytest.mark.parametrize("unlabeled", [None, FEW_TEXTS])
def test_nothing_is_expected_of_too_few_texts(unlabeled: np.ndarray | None) -> None:
    audit = fitted(4, unlabeled).audit()
    assert math.isnan(audit.expected.accuracy) and "expected to be answered" not in audit.summary()


def test_oracle_expected_where_nothing_was_learned_from_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = fitted(4)
    task = classifier.adaptation_.task
    task["gathered"] = Gathered(0.0, len(POOL), 1.0).state
    sure = classifier.predict_proba(POOL).max(1)
    assert classifier.audit().expected.accuracy == pytest.approx(sure.mean(), abs=0.02)
    monkeypatch.setattr(expecting, "belonging_in_pool", lambda *_: Belonging(0.0, 1.0, np.ones(len(POOL))))
    assert classifier.audit().expected.accuracy == pytest.approx(sure.mean(), abs=1e-6)


def test_oracle_texts_count_as_far_as_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = fitted(4)
    classifier.adaptation_.task["gathered"] = Gathered(0.0, len(POOL), 1.0).state
    pool = np.array([[*map(float, text.split())] for text in classifier.adaptation_.pool])
    sure = classifier.predict_proba(pool).max(1)
    shares = (sure > np.median(sure)).astype(float)
    monkeypatch.setattr(expecting, "belonging_in_pool", lambda *_: Belonging(0.0, 1.0, shares))
    assert classifier.audit().expected.accuracy == pytest.approx(sure[shares > 0].mean(), abs=1e-6)


def test_no_text_is_asked_of_what_was_learned_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, learned = fitted(4), []
    monkeypatch.setattr(pool_answers, "_with_pool", lambda adapted, pool: learned.append(set(pool)) or adapted)
    classifier.audit()
    pool = classifier.adaptation_.pool
    assert [set(pool) - rest for rest in learned] == [set(pool[i::3]) for i in range(3)]


@pytest.mark.parametrize("shots", [2, 8])
def test_expected_is_what_comes_true(shots: int) -> None:
    classifiers = [fitted(shots, seed=seed) for seed in range(3, 8)]
    expected = [classifier.audit().expected.accuracy for classifier in classifiers]
    right = [float((classifier.predict(ASKED) == TARGETS).mean()) for classifier in classifiers]
    assert np.mean(expected) == pytest.approx(np.mean(right), abs=0.08)


def test_strangers_do_not_lower_what_is_expected() -> None:
    with_strangers = fitted(8, np.concatenate([POOL, STRANGERS])).audit().expected.accuracy
    assert with_strangers == pytest.approx(fitted(8).audit().expected.accuracy, abs=0.05)


def test_the_sentence_and_a_loaded_classifier_say_the_same(tmp_path: Path) -> None:
    classifier = fitted(8)
    audit = classifier.audit()
    found = (
        f"of texts like the unlabelled ones that belong to a class, {100 * audit.expected.accuracy:.0f} % are expected to be answered "
        "rightly, give or take 11 points"
    )
    assert found in audit.summary().splitlines()
    assert "give or take 15 points" in fitted(2).audit().summary()
    classifier.save_pretrained(tmp_path, include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path, embedding="vectors", device="cpu")
    assert loaded.audit().expected.accuracy == pytest.approx(audit.expected.accuracy, abs=1e-4)


# --- how often each class occurs


def uneven() -> np.ndarray:
    return np.concatenate([drawn(240, 8)[0][:240], drawn(40, 9)[0][40:80], drawn(20, 10)[0][40:]])


def test_oracle_shares_by_numpy() -> None:
    classifier = fitted(8, uneven())
    likely = classifier.predict_proba(np.array([[*map(float, text.split())] for text in classifier.adaptation_.pool]))
    classifier.class_prior = "unlabeled"
    again = classifier.fit(*drawn(8, 3), unlabeled=uneven())
    prior = np.array(again.adaptation_.prior)
    shares = np.full(WAYS, 1 / WAYS)
    for _ in range(200):
        posterior = likely * shares / (likely @ shares)[:, None]
        shares = 0.5 * posterior.mean(0) + 0.5 / WAYS
    assert prior == pytest.approx(shares, abs=0.02)
    assert prior.argmax() == 0 and prior[0] > 0.45 and prior.sum() == pytest.approx(1)


def test_shares_of_even_texts_stay_nearly_even() -> None:
    classifier = FewShotClassifier(embedding="vectors", class_prior="unlabeled", device="cpu")
    prior = classifier.fit(*drawn(8, 3), unlabeled=POOL).adaptation_.prior
    assert prior == pytest.approx([1 / WAYS] * WAYS, abs=0.04)


@pytest.mark.parametrize(("unlabeled", "count"), [(None, 0), (FEW_TEXTS, 99)])
def test_shares_need_unlabelled_texts(unlabeled: np.ndarray | None, count: int) -> None:
    classifier = FewShotClassifier(embedding="vectors", class_prior="unlabeled", device="cpu")
    with pytest.raises(
        InputError,
        match=rf"class_prior='unlabeled' needs 100 unlabelled texts or more, there are {count}; give them to fit as unlabeled=, or use",
    ):
        classifier.fit(*drawn(8, 3), unlabeled=unlabeled)
