"""Unlabelled texts: where classes lie among them, whether they are used, and that what was learned is kept."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_folders import WORDS
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from small_mixture import LABELS, TEXTS, base_folder, two_encoders
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.errors import ConfigError, InputError, ModelFileError
from meta_text.learners.converged import C, converged_head
from meta_text.model import held_out as holding
from meta_text.model import unlabelled as pooling
from meta_text.model.held_out import folds_of
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task, pack
from meta_text.model.unlabelled import FLATTENING, ROUNDS, Gathered, Pool, directions, gather, pool_of, soft_labels

WAYS, WIDTH = 3, 24
RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(WAYS, WIDTH))


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around a centre for each class, so many of each, and their labels."""
    rng = np.random.default_rng(seed)
    noise = 2 * rng.normal(size=(WAYS * count, WIDTH))
    return np.repeat(CENTRES, count, axis=0) + noise, np.repeat(list("abc"), count)


POOL, _ = drawn(150, 1)
ASKED, TARGETS = drawn(200, 2)


def fitted(shots: int, unlabeled: np.ndarray | None = POOL, seed: int = 3) -> FewShotClassifier:
    return FewShotClassifier(embedding="vectors", device="cpu").fit(*drawn(shots, seed), unlabeled=unlabeled)


def accuracy(classifier: FewShotClassifier) -> float:
    return float((classifier.predict(ASKED) == TARGETS).mean())


# --- where classes lie


@pytest.mark.parametrize("every", [1, 4])
def test_oracle_expectation_maximization_by_numpy(every: int) -> None:
    adapted = fitted(4, POOL[::every]).adaptation_
    given = adapted.given
    task = learn_task(given, {key: adapted.task[key] for key in SPACE})
    pool = Pool.of(task, given)
    x, logits, weights = (part.double().numpy() for part in (pool.features, pool.logits, pool.weights))
    assert (weights.sum() > 40 * WAYS) == (every == 1)
    weights *= min(1, 40 * WAYS / weights.sum())  # so many texts a class at most
    total = np.zeros((WAYS, x.shape[1]))
    for text, column in given.labelled:
        total[column] += adapted.unit_vectors([adapted.features[text]])[0].numpy()
    share = softmax(logits, axis=1) * weights[:, None]
    for _ in range(ROUNDS):
        found = total + share.T @ x
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        share = softmax(logits + 20 * x @ found.T, axis=1) * weights[:, None]
    assert directions(task, given, pool, 20.0).numpy() == pytest.approx(found, abs=2e-5)

    asked = adapted.model.in_space(task, pack(adapted.represent([*map(_row, ASKED[:9])]).parts, torch.device("cpu")))
    temperature = given.taught_temperature(task)
    before, after = (
        adapted.model.learner.logits(one, asked).detach().double().numpy() / temperature
        for one in (task, gather(task, given, 20.0))
    )
    cosines = asked.double().numpy() @ found.T
    assert after == pytest.approx((before + 20 * cosines) / (1 + 20 / FLATTENING), abs=2e-4)


def _row(vector: np.ndarray) -> str:
    from meta_text.embedding.given_vectors import row_texts

    return str(row_texts(vector[None])[0])


@pytest.mark.parametrize("shots", [1, 4])
def test_they_help_where_labels_are_few(shots: int) -> None:
    gains = [accuracy(fitted(shots, seed=seed)) - accuracy(fitted(shots, None, seed)) for seed in range(3, 8)]
    assert np.mean(gains) > 0.05


def test_texts_of_no_class_hardly_count() -> None:
    rng = np.random.default_rng(4)
    strange = 3 * rng.normal(size=(1, WIDTH)) + rng.normal(size=(150, WIDTH))
    own, other = (
        Pool.of(one.task, one.given).weights for one in (fitted(4).adaptation_, fitted(4, strange).adaptation_)
    )
    assert float(own.mean()) > float(other.mean()) + 0.1


def test_what_is_asked_later_is_answered_like_what_was_in_the_pool() -> None:
    classifier = fitted(4)
    together = classifier.predict_proba(POOL)
    assert classifier.predict_proba(POOL[7:8])[0] == pytest.approx(together[7], abs=1e-6)


# --- which texts are taken


def test_copies_and_labelled_texts_are_left_out_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    support = {"a": ["One text"], "b": ["another"]}
    texts = ["one  TEXT", "new", "NEW", "third", "new", "fourth"]
    assert sorted(pool_of(texts, support)) == ["fourth", "new", "third"]
    assert pool_of(texts, support) == pool_of(texts[::-1], support)
    monkeypatch.setattr(pooling, "MOST_TEXTS", 2)
    assert pool_of(texts, support) == pool_of(texts[::-1], support)
    assert len(pool_of(texts, support)) == 2


def test_a_pool_of_labelled_texts_changes_nothing() -> None:
    labelled, _ = drawn(4, 3)
    assert fitted(4, labelled).fingerprint() == fitted(4, None).fingerprint()
    assert fitted(4, POOL[::-1]).fingerprint() == fitted(4, np.concatenate([POOL, labelled])).fingerprint()


# --- whether they are used


def _held(logits: np.ndarray, labels: np.ndarray) -> holding.HeldOut:
    return holding.HeldOut(torch.tensor(logits), torch.tensor(labels), np.zeros(len(labels)))


def _value(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean log-likelihood at the best temperature of the grid."""
    rows = np.arange(len(labels))
    return max(log_softmax(logits / factor, axis=1)[rows, labels].mean() for factor in holding.FACTORS)


def test_oracle_expected_gain_is_between_other_tasks_and_its_own_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    without, found = (rng.normal(size=(40, 2)) + sharp * np.eye(2)[labels] for sharp in (1.0, 2.0))
    task = {"left_out": torch.tensor([0.2, 0.5]), "prototypes": torch.zeros(2, 3)}
    hard = {"left_out": torch.tensor([0.7, 0.5]), "prototypes": torch.zeros(2, 3)}  # worse than by chance
    gain = _value(found, labels) - _value(without, labels)
    assert gain > 0.1
    for concentration, taught in ((10.0, 0.04), (20.0, 0.05)):
        assert holding._expected_gain(concentration, [], [], task) == pytest.approx(taught)
        one, other = [_held(found, labels)], [_held(without, labels)]
        expected = (30 * taught + 40 * (gain - 0.015)) / 70
        assert holding._expected_gain(concentration, one, other, task) == pytest.approx(expected, abs=1e-6)
        assert holding._expected_gain(concentration, other, one, task) < 0
        less = taught - 0.36 * 0.5 * (0.7 / 0.5 / math.log(2) - 0.8)
        assert holding._expected_gain(concentration, [], [], hard) == pytest.approx(less, abs=1e-6)
    assert holding._expected_gain(0.0, one, other, task) == 0


def test_held_out_labels_that_lose_by_them_leave_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "LEAST_POOL_GAIN", 10.0)
    classifier = fitted(12)
    gathered = Gathered.of(classifier.adaptation_.task)
    assert gathered.concentration == 0
    assert gathered.texts == len(POOL)
    assert "they are not used" in classifier.audit().unlabeled
    assert classifier.predict_proba(ASKED) == pytest.approx(fitted(12, None).predict_proba(ASKED), abs=1e-5)


# --- logistic regression on soft labels


def test_oracle_soft_labels_count_as_texts_of_each_class() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(14, 5, generator=generator)
    soft = torch.rand(8, 2, generator=generator)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    head = converged_head(x[:6], labels, 2, soft=(x[6:], soft)).double().numpy()
    targets = np.concatenate([np.eye(2)[labels.numpy()], soft.double().numpy()])
    rows = x.double().numpy()

    def loss(flat: np.ndarray) -> float:
        weights, bias = flat[:10].reshape(2, 5), flat[10:]
        fit = -(targets * log_softmax(rows @ weights.T + bias, axis=1)).sum()
        return float(C * fit + (weights**2).sum() / 2)

    best = minimize(loss, np.zeros(12), method="BFGS", options={"gtol": 1e-6})
    assert loss(np.concatenate([head[:, :5].ravel(), head[:, 5]])) == pytest.approx(best.fun, rel=1e-4)
    assert head[:, :5] == pytest.approx(best.x[:10].reshape(2, 5), abs=0.02)


def test_oracle_soft_labels_are_the_answers_of_the_last_round() -> None:
    adapted = fitted(4).adaptation_
    given = adapted.given
    task = learn_task(given, {key: adapted.task[key] for key in SPACE})
    pool = Pool.of(task, given)
    found = directions(task, given, pool, 20.0)
    share = softmax((pool.logits + 20 * pool.features @ found.T).double().numpy(), axis=1)
    share *= pool.weights.double().numpy()[:, None]
    x, soft = soft_labels(gather(task, given, 20.0), given)
    assert x.numpy() == pytest.approx(pool.features.numpy())
    assert soft.numpy() == pytest.approx(share * 4 / (share.sum(0) + 4), abs=1e-3)


# --- leaving texts out


def test_oracle_leave_one_out_knows_directions_without_the_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = fitted(8)
    adapted = classifier.adaptation_
    given, gathered = adapted.given, Gathered.of(adapted.task)
    assert gathered.concentration > 0
    held = folds_of(given.labelled, holding.TENTHS)[0]
    rest = given.without(held)
    task = learn_task(rest, {key: adapted.task[key] for key in SPACE})
    found = directions(task, rest, Pool.of(task, rest), gathered.concentration)
    own = holding.apart(adapted.task, given)[given.labelled[held[0]]]
    assert own.directions is not None
    assert own.directions.numpy() == pytest.approx(found.numpy(), abs=1e-5)
    audit = classifier.audit()
    assert audit.checked == 24
    assert "unlabelled texts are like those of a class" in str(audit)


# --- kept


def test_saved_loaded_and_changed_as_before(tmp_path: Path) -> None:
    classifier = fitted(4)
    for _ in range(2):  # also over the first
        classifier.save_pretrained(tmp_path / "kept", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "kept", device="cpu", embedding="vectors")
    assert loaded.predict_proba(ASKED) == pytest.approx(classifier.predict_proba(ASKED), abs=1e-6)
    assert loaded.audit().accuracy == classifier.audit().accuracy
    new = np.random.default_rng(9).normal(size=(4, WIDTH))
    for one in (classifier, loaded):
        one.add_class("d", new)
    assert Gathered.of(loaded.adaptation_.task).concentration > 0
    assert loaded.predict_proba(ASKED) == pytest.approx(classifier.predict_proba(ASKED), abs=1e-5)


def test_texts_that_get_a_label_leave_the_pool() -> None:
    classifier = fitted(4)
    classifier.add_examples(POOL[:2], ["a", "a"])
    assert len(classifier.adaptation_.pool) == len(POOL) - 2


def test_texts_are_not_saved_unless_labelled_ones_are(tmp_path: Path) -> None:
    fitted(4).save_pretrained(tmp_path / "bare")
    assert not (tmp_path / "bare" / "unlabelled.jsonl").exists()


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_folder_whose_texts_were_changed_is_refused(tmp_path: Path, spoil: str) -> None:
    fitted(4).save_pretrained(tmp_path / "kept", include_support=True)
    path = tmp_path / "kept" / "unlabelled.jsonl"
    lines = path.read_text("utf-8").splitlines()
    path.unlink() if spoil == "remove" else path.write_text(json.dumps({"text": "x"}) + "\n".join(lines[1:]), "utf-8")
    with pytest.raises(ModelFileError, match=r"unlabelled\.jsonl does not hold the unlabelled texts"):
        FewShotClassifier.from_pretrained(tmp_path / "kept", device="cpu", embedding="vectors")


# --- refused in words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("one string", "unlabeled is one string"),
        (["fine", 3], r"unlabeled\[1\] is 3 \(int\); a string is needed"),
        ([" ", None], "unlabeled has no text that is not blank"),
    ],
)
def test_bad_texts(given: object, message: str) -> None:
    from test_classifier import MODEL

    with pytest.raises(InputError, match=message):
        FewShotClassifier(MODEL).fit(["one text", "other words"], ["a", "b"], unlabeled=given)


def test_a_model_that_reads_token_states_cannot_use_them() -> None:
    from test_classifier import MODEL

    with pytest.raises(
        ConfigError, match=r"unlabeled texts need a linear head over sentence encoders.*leave unlabeled out"
    ):
        FewShotClassifier(MODEL).fit(["one text", "other words"], ["a", "b"], unlabeled=["more"])


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = base_folder(tmp_path / "base", two_encoders(tmp_path))
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "more.csv").write_text("\n".join(["text", *WORDS, TEXTS[0]]) + "\n")
    command = ["fit", base, str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "c"), "--unlabeled"]
    assert run(monkeypatch, *command, str(tmp_path / "more.csv")) == 0
    assert "13 unlabelled texts are too few to say where the classes lie; give 100 or more" in " ".join(
        capsys.readouterr().out.split()
    )
    (tmp_path / "more.csv").write_text(
        "\n".join(["text", *(f"{one} {i}" for one in WORDS for i in range(8)), TEXTS[0]])
    )
    assert run(monkeypatch, *command[:-2], str(tmp_path / "e"), "--unlabeled", str(tmp_path / "more.csv")) == 0
    assert "of 104 unlabelled texts" in " ".join(capsys.readouterr().out.split())
    lines = (tmp_path / "more.csv").read_text().partition("\n")[2]
    (tmp_path / "more.txt").write_text(f"\n{lines}\n\n")
    assert run(monkeypatch, *command[:-2], str(tmp_path / "f"), "--unlabeled", str(tmp_path / "more.txt")) == 0
    assert "of 104 unlabelled texts" in " ".join(capsys.readouterr().out.split())
    answers = tmp_path / "answers.csv"
    assert (
        run(
            monkeypatch, "predict", str(tmp_path / "f"), "--input", str(tmp_path / "more.txt"), "--output", str(answers)
        )
        == 0
    )
    assert [line.split(",")[0] for line in answers.read_text().splitlines()] == ["text", "", *lines.splitlines()]
    (tmp_path / "empty.csv").write_text("text\n\n")
    assert run(monkeypatch, *command[:-2], str(tmp_path / "d"), "--unlabeled", str(tmp_path / "empty.csv")) == 2
    assert "empty.csv" in capsys.readouterr().err
