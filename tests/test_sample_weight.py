"""`sample_weight`: what a weight means, by oracles in numpy and scikit-learn, and that it goes wherever its text goes."""

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import small_mixture
import torch
from encoder_folders import model2vec_folder, plain_folder
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from test_classifier import MODEL, small_model
from test_encoder_weights import Numbers, task

from meta_text import Corpus, FewShotClassifier
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.errors import InputError, ModelFileError
from meta_text.learners import LEARNERS
from meta_text.learners.converged import converged_head
from meta_text.learners.learner import membership
from meta_text.learners.uneven import PRIOR_SPREAD, PRIOR_TEXTS, effective_counts, length_excess
from meta_text.model import mixture
from meta_text.model.held_out import HeldOut, finish_of, folds_of, held_out
from meta_text.model.mixture import Prior, fit_space, weigh
from meta_text.model.moving import SHARPNESS, left_out_loss
from meta_text.model.task import learn_task
from meta_text.model.without_itself import likeness_without_itself

TEXTS = [
    "red wine glass",
    "a glass of red",
    "dry white wine",
    "flat tyre again",
    "new tyre please",
    "tyre pressure low",
    "wine and tyre",
]
LABELS = ["wine", "wine", "wine", "car", "car", "car", "car"]
WEIGHTS = [1.0, 0.5, 2.0, 3.0, 1.0, 0.2, 0.7]
ASKED = ["a red wine", "tyre pressure", "unheard of"]


def fitted(weights: Any = None, learner: str = "meta_lstm", **options: Any) -> FewShotClassifier:
    model = MODEL if learner == "meta_lstm" else small_model(learner)
    return FewShotClassifier(model, **options).fit(TEXTS, LABELS, sample_weight=weights)


def effective(weights: Sequence[float]) -> float:
    """Kish's (sum w)^2 / sum w^2."""
    return sum(weights) ** 2 / sum(w * w for w in weights)


def weights_of(classifier: FewShotClassifier, given: Sequence[float] = WEIGHTS) -> list[list[float]]:
    """Those of each class's texts, in the order in which the classifier has them."""
    weight = dict(zip(TEXTS, given, strict=True))
    return [[weight[text] for text in texts] for texts in classifier.adaptation_.distinct.values()]


def vectors(classifier: FewShotClassifier, texts: Sequence[str]) -> np.ndarray:
    return np.stack([classifier.adaptation_.features[text].double().numpy() for text in texts])


# --- what a weight means


@pytest.mark.parametrize("weights", [[3.0], [1.0, 1.0], [0.2, 0.2, 0.2], [1.0, 2.0, 0.5], [1e-300, 1e300], [7.0, 1e-9]])
def test_oracle_scaled_weights_and_their_squares_add_up_to_the_effective_number(weights: list[float]) -> None:
    found = effective_counts(weights)
    relative = [w / max(weights) for w in weights]
    assert sum(found) == pytest.approx(effective(relative))
    assert sum(w * w for w in found) == pytest.approx(effective(relative))
    np.testing.assert_allclose(np.array(found) / max(found), relative)
    if len(set(weights)) == 1:
        assert found == [1.0] * len(weights)


@pytest.mark.parametrize("named", [False, True])
def test_oracle_prototypes_are_weighted_means(named: bool) -> None:
    classifier = fitted(WEIGHTS, "protonet", label_names=named)
    worth = classifier.meta_model.learner.name_weight if named else 0.0
    adapted = classifier.adaptation_
    expected = []
    for own, texts, name in zip(
        weights_of(classifier), adapted.distinct.values(), adapted.names or ("",) * 2, strict=True
    ):
        rows, scale = vectors(classifier, texts), sum(own) / sum(w * w for w in own)
        total = scale * sum(w * row for w, row in zip(own, rows, strict=True))
        total = total + (worth * vectors(classifier, [name])[0] if named else 0.0)
        expected.append(total / (effective(own) + worth))
    np.testing.assert_allclose(adapted.task["prototypes"].numpy(), expected, atol=1e-6)
    assert adapted.shots == pytest.approx(sum(map(effective, weights_of(classifier))) / 2)
    if not named:
        means = [
            np.average(vectors(classifier, t), axis=0, weights=w)
            for t, w in zip(adapted.distinct.values(), weights_of(classifier), strict=True)
        ]
        np.testing.assert_allclose(expected, means)


@pytest.mark.parametrize("learner", LEARNERS)
def test_equal_weights_are_none_and_a_weight_of_zero_is_a_text_left_out(learner: str) -> None:
    plain = fitted(None, learner)
    per_class = [5.0 if label == "wine" else 0.3 for label in LABELS]
    for equal in ([1] * 7, [0.37] * 7, 2.0, np.full(7, 1e-12), per_class):
        assert FewShotClassifier(plain.model).fit(TEXTS, LABELS, equal).fingerprint() == plain.fingerprint()
    model = plain.meta_model
    rest = FewShotClassifier(model).fit(TEXTS[:-1], LABELS[:-1], WEIGHTS[:-1])
    zero = FewShotClassifier(model).fit(TEXTS, LABELS, [*WEIGHTS[:-1], 0])
    assert zero.fingerprint() == rest.fingerprint() != plain.fingerprint()
    assert zero.support_ == rest.support_ and TEXTS[-1] not in zero.support_["car"]
    nearly = FewShotClassifier(model).fit(TEXTS, LABELS, [*WEIGHTS[:-1], 1e-7])
    np.testing.assert_allclose(nearly.predict_proba(ASKED), rest.predict_proba(ASKED), atol=5e-3)


@pytest.mark.parametrize("learner", sorted(set(LEARNERS) - {"maml", "anil", "reptile"}))  # untrained, these overshoot
def test_every_learner_leans_towards_the_text_that_weighs_more(learner: str) -> None:
    """A text under the wrong label, ever lighter: its own label becomes ever less probable for it."""
    shares = []
    model = small_model(learner)
    for weight in (3.0, 1.0, 0.1):
        weights = [*[1.0] * 7, weight]
        classifier = FewShotClassifier(model).fit([*TEXTS, "glass of wine"], [*LABELS, "car"], weights)
        shares.append(classifier.predict_proba(["glass of wine"])[0, 0])
    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("name_weight", [0.0, 1.5])
def test_oracle_excess_of_weighted_means(name_weight: float) -> None:
    """The variance of a weighted mean, and s^2 whose expectation is the variance of a text."""
    rng, given = np.random.default_rng(0), [[1.0, 0.2, 3.0], [1.0] * 4, [5.0]]
    groups = [rng.normal(size=(len(own), 6)) for own in given]
    scaled = [np.array(own) * sum(own) / sum(w * w for w in own) for own in given]
    scatter = sum(
        w * np.sum((row - np.average(x, axis=0, weights=own)) ** 2)
        for x, own in zip(groups, scaled, strict=True)
        for w, row in zip(own, x, strict=True)
    )
    freedom = sum(effective(own) - 1 for own in given)
    rows = np.concatenate(groups)
    s2 = (PRIOR_TEXTS * PRIOR_SPREAD * np.mean(np.sum(rows**2, axis=1)) + scatter) / (PRIOR_TEXTS + freedom)
    each = [[*own, name_weight] for own in scaled]
    variance = np.array([s2 * sum(w * w for w in own) / sum(own) ** 2 for own in each])
    labels = torch.tensor([n for n, own in enumerate(given) for _ in own])
    counts = torch.tensor([w for own in given for w in effective_counts(own)], dtype=torch.float64)
    member = membership(labels, 3, counts).double()
    found = length_excess(torch.tensor(rows), member, torch.tensor(name_weight) if name_weight else None)
    np.testing.assert_allclose(found, variance - variance.mean(), atol=1e-6)


@pytest.mark.parametrize("width", [12, 400])
def test_oracle_logistic_regression_is_that_of_scikit_learn(width: int) -> None:
    rng = np.random.default_rng(0)
    own = np.array([1.0, 0.1, 2.0, 0.7, 0.3, 1.5, 0.05])
    x = rng.normal(size=(21, width))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x, labels = x.astype(np.float32), np.repeat([0, 1, 2], 7)
    counts = np.concatenate([rng.permutation(own * own.sum() / (own**2).sum()) for _ in range(3)])
    head = converged_head(torch.tensor(x), torch.tensor(labels), 3, weights=torch.tensor(counts).float()).numpy()
    theirs = LogisticRegression(C=10, tol=1e-10, max_iter=10_000).fit(x, labels, sample_weight=counts)
    asked = rng.normal(size=(9, width)) / width**0.5
    found, expected = asked @ head[:, :-1].T + head[:, -1], theirs.decision_function(asked)
    np.testing.assert_allclose(
        found - found.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=0.02
    )
    unweighted = converged_head(torch.tensor(x), torch.tensor(labels), 3).numpy()
    assert np.abs(unweighted - head).max() > 0.1


def test_oracle_the_support_loss_of_the_steps_is_weighted() -> None:
    learner = MODEL.learner
    labels, counts = [0, 0, 1, 1, 1], [1.5, 0.5, 1.0, 0.2, 0.8]
    x = torch.tensor(np.random.default_rng(1).normal(size=(5, 8)), dtype=torch.float32)
    data = learner._support_data(x, None, torch.tensor(labels), 2, torch.tensor(counts))
    assert data["weights"].tolist() == pytest.approx(counts)
    head = torch.tensor(np.random.default_rng(2).normal(size=(2, 9)), dtype=torch.float32)
    data |= {"centre": torch.zeros(8), "scale": torch.tensor(1.3), "excess": torch.zeros(2)}
    logits = 1.3 * (x.numpy() @ head[:, :-1].numpy().T + 0.1**0.5 * head[:, -1].numpy())
    expected = oracles.balanced_cross_entropy(logits, labels, 2, counts)
    assert learner._support_loss({"head": head}, data, 2).item() == pytest.approx(expected, rel=1e-5)


# --- the space of several encoders


def test_oracle_the_centre_and_the_votes_on_encoders_are_weighted() -> None:
    rows, labels = task(3, 4, [4, 6], seed=1)
    counts = np.concatenate([effective_counts(own) for own in ([1.0, 1.0, 0.2, 0.1], [1.0, 0.5, 1.0, 1.0], [2.0] * 4)])
    blocks = EncoderBlocks([Numbers("a", 4), Numbers("b", 6)])
    x, y, weights = torch.tensor(rows), torch.tensor(labels), torch.tensor(counts).float()
    space = fit_space(x, y, 3, blocks, Prior(), x[:0], weights)
    centre = np.mean([np.average(rows[labels == n], axis=0, weights=counts[labels == n]) for n in range(3)], axis=0)
    np.testing.assert_allclose(space.centre.numpy(), centre, atol=1e-6)
    parts = [rows[:, :4] / np.linalg.norm(rows[:, :4], axis=1, keepdims=True), np.zeros((12, 1), np.float32)]
    _, (hardness, share) = weigh([torch.tensor(part) for part in parts], y, 3, torch.tensor([1.0, 0.0]), 20.0, weights)
    assert share.item() == pytest.approx(counts.sum() / (counts.sum() + 20))
    alone = weigh([torch.tensor(parts[0])], y, 3, torch.tensor([1.0]), 20.0, weights)[1]
    kernel = (parts[0] @ parts[0].T).astype(float)
    likeliest = max(_weighted_left_out(kernel, labels, counts))
    assert alone[0].item() == pytest.approx(-share.item() * likeliest / counts.sum(), rel=1e-4)
    assert hardness.item() != pytest.approx(0)


def _weighted_left_out(kernel: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> list[float]:
    found = []
    for ridge in mixture.RIDGES:
        for scale in mixture.SCALES:
            total = 0.0
            for i in range(len(labels)):
                rest = np.delete(np.arange(len(labels)), i)
                alpha = np.linalg.solve(
                    kernel[np.ix_(rest, rest)] + 1 + ridge * np.eye(len(rest)), np.eye(3)[labels[rest]]
                )
                logits = scale * ((kernel[i, rest] + 1) @ alpha)
                total += counts[i] * (logits[labels[i]] - np.log(np.exp(logits).sum()))
            found.append(total)
    return found


# --- texts that are left out


@pytest.mark.parametrize("named", [False, True])
def test_a_text_left_out_leaves_the_weights_of_the_others(named: bool) -> None:
    whole = fitted(WEIGHTS, label_names=named)
    for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
        rest = [*WEIGHTS[:i], 0.0, *WEIGHTS[i + 1 :]]
        alone = fitted(rest, label_names=named)
        without = whole.adaptation_.without(label, text)
        torch.testing.assert_close(without.task["head"], alone.adaptation_.task["head"])
    assert whole.audit().checked == len(TEXTS)


@pytest.mark.parametrize("named", [False, True])
def test_oracle_likeness_without_itself_of_weighted_texts(named: bool) -> None:
    classifier = fitted(weights := [1.0, 0.9, 1.1, 3.0, 1.0, 0.2, 0.7], label_names=named)
    adapted, given = classifier.adaptation_, weights_of(classifier, weights)
    worth = classifier.meta_model.learner.name_weight if named else 0.0
    groups = [vectors(classifier, texts) for texts in adapted.distinct.values()]
    names = vectors(classifier, adapted.names or ()) if named else np.zeros((2, groups[0].shape[1]))

    def centre(n: int, rows: np.ndarray, own: Sequence[float]) -> np.ndarray:
        mean = np.average(rows, axis=0, weights=own)
        return np.asarray((effective(own) * mean + worth * names[n]) / (effective(own) + worth))

    def inverse(texts: float) -> float:
        return (texts + worth**2) / (texts + worth) ** 2

    scatter = sum(
        own[i] * sum(own) / sum(w * w for w in own) * np.sum((row - np.average(x, axis=0, weights=own)) ** 2)
        for x, own in zip(groups, given, strict=True)
        for i, row in enumerate(x)
    )
    s2 = (PRIOR_TEXTS * PRIOR_SPREAD + scatter) / (PRIOR_TEXTS + sum(effective(own) - 1 for own in given))
    mean = sum(inverse(effective(own)) for own in given) / 2
    as_even = oracles.even_shots([effective(own) for own in given], worth)
    expected = []
    for n, (rows, own) in enumerate(zip(groups, given, strict=True)):
        other = centre(1 - n, groups[1 - n], given[1 - n])
        beside = s2 * (inverse(effective(given[1 - n])) - mean)
        for i, row in enumerate(rows):
            rest = np.delete(own, i)
            mine = centre(n, np.delete(rows, i, axis=0), rest)
            itself = s2 * (inverse(effective(rest)) - inverse(as_even - 1))
            expected.append(max(1 - np.sum((row - mine) ** 2) + itself, 1 - np.sum((row - other) ** 2) + beside))
    found, even = likeness_without_itself(adapted.task, adapted.given)
    assert even == pytest.approx(as_even)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_text_that_is_nearly_all_of_its_class_can_be_left_out_of_it() -> None:
    """A difference of float32 would leave noise, divided by a billionth."""
    adapted = fitted([1, 1, 1, 1e-7, 1, 1e-7, 2e-7]).adaptation_
    found, _ = likeness_without_itself(adapted.task, adapted.given)
    centre = np.average(
        vectors_of(adapted, ("flat tyre again", "tyre pressure low", "wine and tyre")), axis=0, weights=[1, 1, 2]
    )
    place = [text for text, _ in adapted.given.labelled].index("new tyre please")
    text = vectors_of(adapted, ("new tyre please",))[0]
    assert found[place] > 1 - np.sum((text - centre) ** 2) - 2
    assert np.abs(found).max() < 5


def vectors_of(adapted: Any, texts: Sequence[str]) -> np.ndarray:
    return np.stack([adapted.features[text].double().numpy() for text in texts])


def test_oracle_held_out_texts_count_as_if_given_so_many_times() -> None:
    rng = np.random.default_rng(0)
    labels, times = rng.integers(0, 3, 60), rng.integers(1, 4, 60)
    said = [rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels] for _ in range(2)]

    def held(logits: np.ndarray, *, again: bool) -> HeldOut:
        rows = np.repeat(np.arange(60), times) if again else np.arange(60)
        weights = None if again else torch.tensor(times, dtype=torch.float64)
        return HeldOut(
            torch.tensor(logits[rows]).float(), torch.tensor(labels[rows]), np.zeros(len(rows), np.float32), weights
        )

    weighted, repeated = ([held(logits, again=again) for logits in said] for again in (False, True))
    assert weighted[0].value == pytest.approx(repeated[0].value)
    assert weighted[0].factor == pytest.approx(repeated[0].factor)
    assert weighted[0].gain_over(weighted[1])[0] == pytest.approx(repeated[0].gain_over(repeated[1])[0])
    better = [
        HeldOut(4 * one.logits + 6 * torch.eye(3)[one.labels], one.labels, one.likeness, one.weights)
        for one in (weighted[0], repeated[0])
    ]
    one, other = (finish_of(rule, sure) for rule, sure in zip((weighted[0], repeated[0]), better, strict=True))
    assert one.share > 0
    assert (one.share, one.factor, one.gain) == pytest.approx((other.share, other.factor, other.gain))


def test_oracle_the_loss_that_moves_an_encoder_is_weighted() -> None:
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(7, 5)), [0, 0, 0, 1, 1, 2, 2]
    rows, weights = rows / np.linalg.norm(rows, axis=1, keepdims=True), [1.0, 0.3, 2.0, 0.5, 0.5, 1.0, 4.0]
    total = 0.0
    for n in range(3):
        own = [i for i in range(7) if labels[i] == n]
        for i in own:
            logits = []
            for m in range(3):
                mean = sum(weights[j] * rows[j] for j in range(7) if labels[j] == m and j != i)
                logits.append(SHARPNESS * rows[i] @ mean / np.linalg.norm(mean))
            share = weights[i] / sum(weights[j] for j in own)
            total += share * (np.log(np.exp(logits).sum()) - logits[n]) / 3
    found = left_out_loss(torch.tensor(rows), torch.tensor(labels), torch.tensor(weights, dtype=torch.float64))
    assert found.item() == pytest.approx(total)


# --- what it is for


def test_wrong_labels_that_weigh_little_do_little_harm() -> None:
    """Three in eight labels are wrong, and known to be doubtful; new texts are answered nearly as without these labels."""
    corpus = Corpus.open("intents")
    rng, right = np.random.default_rng(0), np.zeros((3, 2))
    classifier = FewShotClassifier(embedding="fast", device="cpu")
    for _ in range(4):
        names = rng.choice(corpus.class_names, 5, replace=False)
        rows = [rng.permutation(corpus.rows_of(name))[:16] for name in names]
        texts = [corpus.texts[row] for own in rows for row in own[:8]]
        truth = np.repeat(np.arange(5), 8)
        wrong = np.tile(np.arange(8) < 3, 5)
        labels = np.where(wrong, (truth + rng.integers(1, 5, len(truth))) % 5, truth)
        asked = [corpus.texts[row] for own in rows for row in own[8:]]
        for i, weights in enumerate((None, np.where(wrong, 0.05, 1.0), np.where(wrong, 0.0, 1.0))):
            classifier.fit(texts, labels.tolist(), weights)
            right[i] += (
                np.sum(classifier.predict(asked) == np.repeat(np.arange(5), [len(own) - 8 for own in rows])),
                len(asked),
            )
    plain, light, without = right[:, 0] / right[:, 1]
    assert light > plain + 0.05
    assert light > without - 0.05


# --- where weights go


def test_weights_go_with_their_texts_through_edits() -> None:
    classifier = fitted(WEIGHTS)
    classifier.rename_class("wine", "drink")
    renamed = ["drink" if label == "wine" else label for label in LABELS]
    same_as(classifier, TEXTS, renamed, WEIGHTS)
    classifier.add_class("boat", ["sail and mast", "row the boat"])
    texts, labels, weights = [*TEXTS, "sail and mast", "row the boat"], [*renamed, "boat", "boat"], [*WEIGHTS, 1.0, 1.0]
    same_as(classifier, texts, labels, weights)
    classifier.add_examples(
        ["white wine", "TYRE pressure  low"], ["drink", "car"]
    )  # a copy, which weighs 1 instead of 0.2
    weights[TEXTS.index("tyre pressure low")] = 1.0
    same_as(classifier, [*texts, "white wine", "TYRE pressure  low"], [*labels, "drink", "car"], [*weights, 1.0, 1.0])
    classifier.remove_examples(["wine and tyre", "TYRE pressure  low"])
    classifier.remove_class("drink")
    kept = [i for i, label in enumerate(labels) if label != "drink" and texts[i] != "wine and tyre"]
    same_as(classifier, *([column[i] for i in kept] for column in (texts, labels, weights)))
    classifier.add_class("drink", TEXTS[:3])
    classifier.add_examples(["wine and tyre"], ["car"])
    back = [label for label in ("drink",) * 3]
    again = [
        [*(column[i] for i in kept), *more]
        for column, more in ((texts, [*TEXTS[:3], "wine and tyre"]), (labels, [*back, "car"]), (weights, [1.0] * 4))
    ]
    same_as(classifier, *again)  # what is added again weighs 1


def same_as(edited: FewShotClassifier, texts: list[str], labels: list[str], weights: list[float]) -> None:
    fresh = FewShotClassifier(MODEL).fit(texts, labels, weights)
    np.testing.assert_allclose(edited.predict_proba(ASKED), fresh.predict_proba(ASKED), atol=1e-6)
    assert edited.classes_.tolist() == fresh.classes_.tolist()


def test_of_copies_the_largest_weight_counts() -> None:
    copies = FewShotClassifier(MODEL).fit(
        [*TEXTS, "Dry  white WINE", TEXTS[0]], [*LABELS, "wine", "wine"], [*WEIGHTS, 5, 0]
    )
    weights = [*WEIGHTS[:2], 5.0, *WEIGHTS[3:]]
    assert copies.fingerprint() == fitted(weights).fingerprint()
    apart = [*WEIGHTS[:2], 0.0, *WEIGHTS[3:], 2.0]  # under another label it is another one
    other = FewShotClassifier(MODEL).fit([*TEXTS, TEXTS[2]], [*LABELS, "car"], apart)
    assert TEXTS[2] in other.support_["car"] and TEXTS[2] not in other.support_["wine"]


def test_saved_and_loaded_and_pickled(tmp_path: Path) -> None:
    classifier = fitted(WEIGHTS)
    expected, text = classifier.predict_proba(ASKED), "sail and mast"
    classifier.save_pretrained(tmp_path / "with", include_support=True)
    classifier.save_pretrained(tmp_path / "without")
    rows = [json.loads(line) for line in (tmp_path / "with" / "support.jsonl").read_text("utf-8").splitlines()]
    assert {row["text"]: row["weight"] for row in rows} == dict(zip(TEXTS, WEIGHTS, strict=True))
    loaded = FewShotClassifier.from_pretrained(tmp_path / "with", device="cpu")
    pickled = pickle.loads(pickle.dumps(classifier))
    bare = FewShotClassifier.from_pretrained(tmp_path / "without", device="cpu")
    for other in (loaded, pickled, bare):
        np.testing.assert_array_equal(other.predict_proba(ASKED), expected)
    classifier.add_examples([text], ["car"])
    for other in (loaded, pickled):
        other.add_examples([text], ["car"])
        np.testing.assert_allclose(other.predict_proba(ASKED), classifier.predict_proba(ASKED), atol=1e-6)
        assert str(other.audit()) == str(classifier.audit())
    fitted().save_pretrained(tmp_path / "plain", include_support=True)
    assert "weight" not in (tmp_path / "plain" / "support.jsonl").read_text("utf-8")


@pytest.mark.parametrize("weight", [0, -1.0, "1", None])
def test_a_spoiled_weight_in_a_folder_is_refused(weight: Any, tmp_path: Path) -> None:
    fitted(WEIGHTS).save_pretrained(tmp_path / "m", include_support=True)
    file, config = tmp_path / "m" / "support.jsonl", tmp_path / "m" / "config.json"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rows[1]["weight"] = weight
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    values = json.loads(config.read_text("utf-8"))
    values["classifier"]["support_sha256"] = values["classifier"]["sha256"] = None  # as in the first folders
    config.write_text(json.dumps(values), "utf-8")
    with pytest.raises(
        ModelFileError, match=r"line 2: a text .* is needed, its weight, if it has one, a positive number, found"
    ):
        FewShotClassifier.from_pretrained(tmp_path / "m", device="cpu")


def test_classes_that_are_learned_from_held_out_folds_keep_their_weights(tmp_path: Path) -> None:
    """With encoders: the answers to a fold are those of a classifier of the others, and count as the texts held out do."""
    model = small_mixture.untrained(small_mixture.two_encoders(tmp_path))
    texts, labels = small_mixture.TEXTS, small_mixture.LABELS
    weights = np.linspace(0.2, 3, len(texts)).tolist()
    whole = FewShotClassifier(model).fit(texts, labels, weights).adaptation_
    space = {key: whole.task[key] for key in mixture.SPACE}
    labelled = whole.given.labelled
    weight = dict(zip(texts, weights, strict=True))
    for fold in folds_of(labelled):
        said = held_out(whole.given, space, fold)
        rest = [row for place, row in enumerate(labelled) if place not in fold]
        columns = [column for _, column in rest]
        alone = FewShotClassifier(model).fit([text for text, _ in rest], columns, [weight[text] for text, _ in rest])
        task = learn_task(alone.adaptation_.given, space)
        asked = model.in_space(task, torch.stack([whole.features[labelled[place][0]] for place in fold]))
        logits = model.learner.logits(task, asked) / alone.adaptation_.given.taught_temperature(task)
        torch.testing.assert_close(said.logits, logits)
        for place, count in zip(fold, said.counts.tolist(), strict=True):
            own = [weight[text] for text, column in labelled if column == labelled[place][1]]
            assert count == pytest.approx(weight[labelled[place][0]] * sum(own) / sum(w * w for w in own))


def test_an_encoder_is_moved_by_weighted_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_folder(tmp_path / "first", num_hidden_layers=4)
    model2vec_folder(tmp_path / "second")
    model = small_mixture.untrained([str(tmp_path / "first"), str(tmp_path / "second")])
    monkeypatch.setattr(HeldOut, "gain_over", lambda *_: (1.0, 0.0))
    monkeypatch.setattr("meta_text.model.moved_adaptation.LEAST_HELD_OUT", 4)
    texts, labels = small_mixture.TEXTS, small_mixture.LABELS
    classifier = FewShotClassifier(model)
    plain = classifier.fit(texts, labels, effort="high").predict_proba(small_mixture.ASKED)
    equal = classifier.fit(texts, labels, [2.0] * len(texts), effort="high").predict_proba(small_mixture.ASKED)
    np.testing.assert_array_equal(equal, plain)
    weighted = classifier.fit(texts, labels, np.linspace(0.1, 2, len(texts)), effort="high")
    assert weighted.adaptation_.move.is_moved
    assert np.abs(weighted.predict_proba(small_mixture.ASKED) - plain).max() > 1e-3
    weighted.save_pretrained(tmp_path / "saved", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    assert loaded.adaptation_.still.given.counts == weighted.adaptation_.still.given.counts != [[1.0] * 5, [1.0] * 6]


# --- scikit-learn


def test_scikit_learn_passes_weights_on() -> None:
    expected = fitted(WEIGHTS).predict_proba(ASKED)
    pipeline = make_pipeline(FewShotClassifier(MODEL)).fit(TEXTS, LABELS, fewshotclassifier__sample_weight=WEIGHTS)
    np.testing.assert_array_equal(pipeline.predict_proba(ASKED), expected)
    calibrated = CalibratedClassifierCV(FewShotClassifier(MODEL), ensemble=False, cv=3)
    calibrated.fit(TEXTS, LABELS, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(calibrated.calibrated_classifiers_[0].estimator.predict_proba(ASKED), expected)
    scores = cross_validate(
        FewShotClassifier(MODEL), TEXTS, LABELS, cv=3, params={"sample_weight": np.array(WEIGHTS)}, error_score="raise"
    )
    assert scores["test_score"].shape == (3,)


def test_ada_boost_weighs_what_was_wrong() -> None:
    rows, labels = task(2, 12, [3], seed=5)
    boosted = AdaBoostClassifier(FewShotClassifier(embedding="vectors", device="cpu"), n_estimators=3).fit(rows, labels)
    assert len(boosted.estimators_) >= 1
    counts = [{round(one, 6) for own in e.adaptation_.given.counts for one in own} for e in boosted.estimators_]
    assert counts[0] == {1.0}
    assert len(counts) == 1 or len(counts[1]) > 1
    assert boosted.score(rows, labels) >= 0.8


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, pd.Series, pl.Series, pa.array, iter])
def test_weights_of_any_kind_of_column(kind: Callable[[list[float]], Any]) -> None:
    assert fitted(kind(WEIGHTS)).fingerprint() == fitted(WEIGHTS).fingerprint()


def test_weights_of_rows_that_are_skipped_are_skipped() -> None:
    with pytest.warns(UserWarning, match="2 of 9 rows skipped"):
        skipped = FewShotClassifier(MODEL).fit(
            ["", *TEXTS, "x"], ["car", *LABELS, None], [9, *WEIGHTS, 7], bad_rows="skip"
        )
    assert skipped.fingerprint() == fitted(WEIGHTS).fingerprint()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[1:], "sample_weight has length 6, but there are 7 texts; one weight per text is needed"),
        (
            [*WEIGHTS[1:], -1],
            r"sample_weight\[6\] is -1; a finite number that is not negative is needed: 1 counts in full",
        ),
        ([*WEIGHTS[1:], float("nan")], r"sample_weight\[6\] is missing or NaN; a finite number"),
        ([*WEIGHTS[1:], None], r"sample_weight\[6\] is missing or NaN; a finite number"),
        ([*WEIGHTS[1:], float("inf")], r"sample_weight\[6\] is inf; a finite number"),
        ([*WEIGHTS[1:], "heavy"], r"sample_weight\[6\] is 'heavy'; a finite number"),
        (np.ones((7, 2)), r"sample_weight has shape \(7, 2\); a 1-dimensional sequence of numbers is needed"),
        ({"car": 2.0}, r"sample_weight is .*; a list of numbers is needed"),
        (-1.0, r"sample_weight\[0\] is -1.0; a finite number"),
        (
            [1, 1, 1, 0, 0, 0, 0],
            "every text of class 'car' has weight zero in sample_weight, .* or leave the class out",
        ),
        (0, "every text of class 'wine' has weight zero"),
    ],
)
def test_what_is_no_weight_is_refused(weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(weights)
    with pytest.raises(InputError, match=message):
        fitted(weights, label_names=True)


def test_a_described_class_needs_no_text_that_weighs() -> None:
    described = {"wine": "a red wine", "car": "a flat tyre"}
    alone = FewShotClassifier(MODEL, label_names=described).fit(TEXTS[:3], LABELS[:3])
    zero = FewShotClassifier(MODEL, label_names=described).fit(TEXTS, LABELS, [1, 1, 1, 0, 0, 0, 0])
    assert zero.fingerprint() == alone.fingerprint()
