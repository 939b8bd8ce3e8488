"""How far a head goes: logistic regression to convergence, when it is taken, and that it is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from small_mixture import ASKED, BANK, CARD, LABELS, TEXTS, base_folder, two_encoders

from meta_text import FewShotClassifier
from meta_text.learners.converged import MARGIN, C, converged_head
from meta_text.model import held_out as holding
from meta_text.model.adaptation import Adaptation
from meta_text.model.finish import RULE_ALONE, Finish
from meta_text.model.held_out import HeldOut, finish_of, folds_of, held_out
from meta_text.model.mixture import SPACE
from meta_text.model.task import learn_task


def drawn(counts: list[int], width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors around one direction for each class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([label for label, count in enumerate(counts) for _ in range(count)])
    centres = torch.randn(len(counts), width, generator=generator)
    noise = 1.5 * torch.randn(len(labels), width, generator=generator)
    return torch.nn.functional.normalize(centres[labels] + noise, dim=1), labels


def centred(logits: np.ndarray) -> np.ndarray:
    """Less what all classes of a text share, which no probability depends on."""
    return np.asarray(logits - logits.mean(1, keepdims=True))


# --- logistic regression


@pytest.mark.parametrize("width", [12, 400])  # more texts than numbers, and far fewer
def test_oracle_even_classes_are_those_of_scikit_learn(width: int) -> None:
    features, labels = drawn([7, 7, 7], width)
    asked, _ = drawn([5, 5, 5], width, seed=1)
    head = converged_head(features, labels, 3)
    found = asked @ head[:, :-1].T + head[:, -1]
    theirs = LogisticRegression(C=10, tol=1e-10, max_iter=10_000).fit(features.numpy(), labels.numpy())
    np.testing.assert_allclose(centred(found.numpy()), centred(theirs.decision_function(asked.numpy())), atol=0.02)


@pytest.mark.parametrize("name_weight", [None, 1.5])
def test_oracle_no_direction_lowers_the_documented_loss(name_weight: float | None) -> None:
    """With uneven classes: every one weighs the same, and a text of a small one has to win by 6 (1 / K - its mean)."""
    counts, width = [1, 3, 8], 10
    features, labels = drawn(counts, width)
    names = None if name_weight is None else drawn([1, 1, 1], width, seed=2)[0]
    head = converged_head(features, labels, 3, names, name_weight or 0.0).double().numpy()
    x, y, each = features.double().numpy(), labels.numpy(), np.ones(len(labels))
    inverse = 1 / np.array(counts)
    if names is not None and name_weight is not None:
        x, y = np.vstack([x, names.double().numpy()]), np.append(y, [0, 1, 2])
        each = np.append(each, [name_weight] * 3)
        inverse = (np.array(counts) + name_weight**2) / (np.array(counts) + name_weight) ** 2
    weights = np.array([each[i] / each[y == y[i]].sum() for i in range(len(y))]) * len(y) / 3

    def loss(rows: np.ndarray) -> float:
        logits = x @ rows[:, :-1].T + rows[:, -1]
        logits[range(len(y)), y] -= MARGIN * (inverse - inverse.mean())[y]
        own = log_softmax(logits, axis=1)[range(len(y)), y]
        return float(-(weights * own).sum() * C + (rows[:, :-1] ** 2).sum() / 2)

    least, rng = loss(head), np.random.default_rng(0)
    for _ in range(30):
        step = rng.normal(size=head.shape)
        step *= 0.05 / np.linalg.norm(step)
        assert loss(head + step) > least - 1e-4
    assert loss(0.9 * head) > least + 0.01
    assert loss(1.1 * head) > least + 0.01


def test_a_text_given_twice_changes_nothing_in_its_even_class() -> None:
    """Singular features: both copies together weigh what one did, and all classes the same."""
    features, labels = drawn([2, 2], 40)
    twice = torch.cat([features, features])
    head, other = converged_head(features, labels, 2), converged_head(twice, torch.cat([labels, labels]), 2)
    assert torch.isfinite(other).all()
    # twice the texts weigh twice as much against the squared weights
    assert other[:, :-1].norm() > head[:, :-1].norm()


# --- when it is taken


def held(logits: np.ndarray, labels: np.ndarray) -> HeldOut:
    return HeldOut(torch.tensor(logits), torch.tensor(labels), np.zeros(len(labels)))


def scored(labels: np.ndarray, right: float, seed: int, strength: float = 3.0) -> np.ndarray:
    """Logits of four classes that name the right one for this share of the texts."""
    rng = np.random.default_rng(seed)
    named = np.where(rng.random(len(labels)) < right, labels, rng.integers(0, 4, len(labels)))
    return np.asarray(strength * np.eye(4)[named] + 0.3 * rng.normal(size=(len(labels), 4)))


def test_regression_is_taken_as_far_as_held_out_labels_say() -> None:
    labels = np.arange(200) % 4
    rule = held(scored(labels, 0.3, 0), labels)
    better = held(scored(labels, 0.9, 1, strength=1.0), labels)
    found = finish_of(rule, better)
    assert 0.5 * 200 / 230 <= found.share <= 200 / 230
    assert found.factor > 1.5  # its logits are flat, as much shrinking makes them
    assert found.gain > 0.3
    assert finish_of(better, rule).share < 0.25
    assert finish_of(rule, rule) == RULE_ALONE


def test_what_chance_may_bring_is_not_taken() -> None:
    labels = np.arange(40) % 4
    rng = np.random.default_rng(0)
    for i in range(8):
        rule = scored(labels, 0.9, i)
        noisy = held(rule + rng.normal(size=rule.shape), labels)
        assert finish_of(held(rule, labels), noisy).share < 0.45


def test_every_class_counts_the_same() -> None:
    """Regression that prefers the large class whatever the text is right nine times in ten, and is not taken."""
    labels = np.array([0] * 180 + [1] * 20)
    right = np.random.default_rng(0).random(200) < 0.7
    rule = held(np.eye(2)[np.where(right, labels, 1 - labels)] * 0.8, labels)
    only_large = held(np.tile([2.0, 0.0], (200, 1)), labels)
    assert finish_of(rule, only_large) == RULE_ALONE


def test_the_audit_says_how_far_the_head_goes() -> None:
    assert RULE_ALONE.sentence() == ""
    said = Finish(0.93, 2.0, 0.07).sentence()
    assert "93 % of the way" in said
    assert "7 % more probable" in said


# --- in a classifier

FORCED = Finish(0.6, 2.0, 0.1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("place")
    return base_folder(path / "base", two_encoders(path))


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")
    monkeypatch.setattr(holding, "LEAST_TEXTS", 4)
    monkeypatch.setattr(holding, "finish_of", lambda rule, converged: FORCED)


def rule_of(adapted: Adaptation) -> Adaptation:
    space = {key: value for key, value in adapted.task.items() if key in (*SPACE, "sharpness")}
    return replace(adapted, task=learn_task(adapted.given, space), first=None)


def test_oracle_probabilities_are_those_of_both_heads_added_by_hand(base: str, forced: None) -> None:
    texts, labels = [*CARD[:5], *BANK], ["card"] * 5 + ["bank"] * 5
    adapted = FewShotClassifier(base, device="cpu").fit(texts, labels).adaptation_
    assert Finish.of(adapted.task).share == pytest.approx(0.6)
    parts = adapted.represent(ASKED).parts
    rule = rule_of(adapted)
    by_rule = rule.score(parts).double().numpy() / rule.temperature
    known = adapted.model.in_space(adapted.task, torch.stack([adapted.features[text] for text in texts]))
    asked = adapted.model.in_space(adapted.task, torch.stack(list(parts)))
    assert isinstance(known, torch.Tensor)
    assert isinstance(asked, torch.Tensor)
    # in two columns, as two classes have them: scikit-learn fits one column, whose penalty is half as large
    regression = LogisticRegression(C=20, tol=1e-10, max_iter=10_000).fit(known.numpy(), labels)
    one = regression.decision_function(asked.numpy())
    converged = np.stack([-one / 2, one / 2], axis=1)
    order = ["bank", "card"]
    assert regression.classes_.tolist() == order == list(adapted.support)
    expected = softmax(0.4 * by_rule + 0.6 * 2.0 * converged, axis=1)
    np.testing.assert_allclose(adapted.probabilities(adapted.score(parts)), expected, atol=2e-3)
    assert np.abs(expected - softmax(by_rule, axis=1)).max() > 0.02  # else it would not matter


def test_it_is_saved_copied_and_edited_with_the_classes(base: str, forced: None, tmp_path: Path) -> None:
    fitted = FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS)
    fitted.save_pretrained(tmp_path / "mine", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "mine", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(ASKED), fitted.predict_proba(ASKED))
    loaded.add_class("query", ["query : a", "a query", "query"])
    assert Finish.of(loaded.adaptation_.task).share == pytest.approx(0.6)
    again = FewShotClassifier(base, device="cpu").fit(
        [*TEXTS, "query : a", "a query", "query"], [*LABELS, *["query"] * 3]
    )
    np.testing.assert_allclose(loaded.predict_proba(ASKED), again.predict_proba(ASKED), atol=1e-4)


def test_oracle_a_text_that_is_checked_is_answered_by_heads_that_never_saw_it(base: str, forced: None) -> None:
    """The rule without the text; regression without the tenth of the texts that it is among."""
    texts, labels = [*CARD[:5], *BANK], ["card"] * 5 + ["bank"] * 5
    adapted = FewShotClassifier(base, device="cpu").fit(texts, labels).adaptation_
    pairs = adapted.given.labelled
    text = CARD[0]
    held = next(fold for fold in folds_of(pairs, 10) if (text, 1) in [pairs[place] for place in fold])
    rest = [pair for place, pair in enumerate(pairs) if place not in held]
    assert len(rest) == 10 - len(held) and len(held) <= 2

    def vectors(rows: list[str]) -> np.ndarray:
        packed = adapted.model.in_space(adapted.task, torch.stack([adapted.features[row] for row in rows]))
        assert isinstance(packed, torch.Tensor)
        return packed.numpy()

    columns = torch.tensor([column for _, column in rest])
    head = converged_head(torch.tensor(vectors([one for one, _ in rest])), columns, 2)
    row = head[:, :-1] @ torch.tensor(vectors([text])[0]) + head[:, -1]
    left = adapted.without("card", text)
    support = {"bank": tuple(sorted(BANK)), "card": tuple(sorted(CARD[1:5]))}
    assert left.support == support
    space = {key: value for key, value in adapted.task.items() if key in SPACE}
    rule = learn_task(replace(adapted.given, support=support), space)
    parts = [adapted.features[text]]
    by_rule = (
        adapted.model.learner.logits(rule, torch.tensor(vectors([text])))[0].detach().numpy() / adapted.temperature
    )
    expected = 0.4 * (by_rule[1] - by_rule[0]) + 0.6 * 2.0 * float(row[1] - row[0])
    damped = left.score(parts)[0].numpy() / adapted.temperature
    undamped = replace(left, task={key: value for key, value in left.task.items() if key != "familiar"})
    found = undamped.score(parts)[0].numpy() / adapted.temperature
    assert found[1] - found[0] == pytest.approx(expected, abs=0.03)
    assert abs(damped[1] - damped[0]) <= abs(found[1] - found[0]) + 1e-6


def test_the_audit_of_a_classifier_says_so(base: str, forced: None) -> None:
    assert "60 % of the way" in FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS).audit().summary()


def test_few_texts_stay_with_the_rule(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: HeldOut) -> Finish:
        raise AssertionError("asked with fewer than 30 texts")

    monkeypatch.setattr(holding, "finish_of", refused)
    assert "finish" not in FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS).adaptation_.task


def test_texts_of_one_class_alone_do_not_decide(base: str, forced: None) -> None:
    adapted = FewShotClassifier(base, device="cpu").fit([*CARD, BANK[0]], ["card"] * len(CARD) + ["bank"]).adaptation_
    assert "finish" not in adapted.task


def test_oracle_held_out_texts_are_answered_at_the_given_finish(base: str, forced: None) -> None:
    """The regression alone: logits of scikit-learn on the other texts."""
    texts, labels = [*CARD[:5], *BANK], ["card"] * 5 + ["bank"] * 5
    adapted = FewShotClassifier(base, device="cpu").fit(texts, labels).adaptation_
    space = {key: adapted.task[key] for key in SPACE}
    pairs = [(text, column) for column, own in enumerate(adapted.distinct.values()) for text in own]
    hidden = [0, 1, 5, 6]
    found = held_out(adapted.given, space, hidden, Finish(share=1.0))
    rest = [pair for place, pair in enumerate(pairs) if place not in hidden]

    def features(rows: list[tuple[str, int]]) -> np.ndarray:
        packed = adapted.model.in_space(adapted.task, torch.stack([adapted.features[text] for text, _ in rows]))
        assert isinstance(packed, torch.Tensor)
        return packed.numpy()

    theirs = LogisticRegression(C=20, tol=1e-10, max_iter=10_000).fit(features(rest), [column for _, column in rest])
    one = theirs.decision_function(features([pairs[place] for place in hidden]))
    np.testing.assert_allclose(found.logits[:, 1] - found.logits[:, 0], one, atol=0.02)
