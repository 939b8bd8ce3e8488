"""Oracles of the learners beside the Meta-LSTMs: closed forms, search, Reptile, joint training."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import BayesianRidge
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import f1_score

from meta_text.embedding.token_states import TokenStates
from meta_text.learners import EmbeddedEpisode, policy
from meta_text.learners.closed_form import Bayes, Ridge
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.inner_loop import TaskShape
from meta_text.learners.maml import Anil, Maml, ProtoMaml
from meta_text.learners.meta_sgd import MetaSgd
from meta_text.learners.plain_lstm import Adam, Finetune, ScratchLSTM
from meta_text.learners.policy import Policy, macro_f1
from meta_text.learners.reptile import Reptile

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def draw(texts: int, seed: int) -> TokenStates:
    states = torch.randn(texts, 5, 6, generator=torch.Generator().manual_seed(seed))
    return TokenStates(states, torch.ones(texts, 5, dtype=torch.bool))


def encoder() -> TextEncoder:
    torch.manual_seed(0)
    made = TextEncoder(6, 4)
    torch.nn.init.normal_(made.out, std=0.3)
    return made


EPISODE = EmbeddedEpisode(
    draw(6, 1), LABELS, draw(4, 2), torch.tensor([0, 1, 2, 0]), 3, classes=torch.tensor([4, 0, 2])
)


def test_oracle_ridge_is_that_of_sklearn() -> None:
    learner = Ridge(encoder())
    x, query = (learner.features(t).detach() for t in (EPISODE.support, EPISODE.query))
    centre = x.mean(0)  # classes of equal size
    theirs = SklearnRidge(alpha=1.0, fit_intercept=False).fit((x - centre).numpy(), np.eye(3)[LABELS] - 1 / 3)
    expected = torch.tensor(10 * theirs.predict((query - centre).numpy())).float()
    task = learner.adapt(EPISODE.support, LABELS, 3)
    torch.testing.assert_close(learner.logits(task, EPISODE.query), expected, atol=1e-4, rtol=1e-4)


def test_oracle_ridge_weighs_classes_alike() -> None:
    """Five copies of a class's texts change nothing but the number of rows that the penalty meets."""
    learner = Ridge(encoder())
    x = learner.features(EPISODE.support).detach()
    once = learner.adapt(x, LABELS, 3)["head"]
    rows = torch.tensor([0, 1] * 5 + [2, 3, 4, 5])
    with torch.no_grad():
        learner.log_ridge.fill_(np.log(14 / 6))  # the class weights sum to the number of texts
    torch.testing.assert_close(learner.adapt(x[rows], LABELS[rows], 3)["head"], once, atol=1e-5, rtol=1e-4)


def test_oracle_bayes_posterior_is_that_of_sklearn() -> None:
    learner = Bayes(encoder())
    x = learner.features(EPISODE.support).detach()
    centred = (x - x.mean(0)).numpy().astype(float)
    theirs = BayesianRidge(alpha_init=1.0, lambda_init=1.0, max_iter=1, fit_intercept=False)
    targets = (np.eye(3)[LABELS] - 1 / 3)[:, 0]
    precision = np.eye(6) + centred.T @ centred
    task = learner.adapt(x, LABELS, 3)
    np.testing.assert_allclose(task["covariance"].detach().numpy(), np.linalg.inv(precision), atol=1e-5)
    mean = np.linalg.solve(precision, centred.T @ targets)
    np.testing.assert_allclose(task["head"][0, :-1].detach().numpy(), mean, atol=1e-5)
    assert theirs.fit(centred, targets).coef_ @ mean > 0  # the same direction, whatever precisions it then fits


def test_bayes_is_less_sure_far_from_the_support() -> None:
    learner = Bayes(encoder())
    x = learner.features(EPISODE.support).detach()
    task = learner.adapt(x, LABELS, 3)
    near = x[:1]
    centred = near - task["centre"]
    far = task["centre"] + 3 * centred
    ratio = (learner.logits(task, far) / learner.logits(task, near)).mean()
    assert 1 < ratio < 3  # a plain linear head would answer three times as loudly


def test_oracle_macro_f1_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, answers = rng.integers(0, 4, 9), rng.integers(0, 4, 9)
        ours = macro_f1(torch.tensor(answers), torch.tensor(labels), 4).item()
        assert ours == pytest.approx(f1_score(labels, answers, labels=range(4), average="macro", zero_division=0))


def test_policy_climbs_what_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a score that falls with the distance of one gate bias from 1, the estimate points there."""
    monkeypatch.setattr(policy, "DIRECTIONS", 200)
    monkeypatch.setattr(policy, "SIGMA", 0.05)
    learner = Policy(encoder())
    learner._score = lambda rule, noise, size, episode: (
        -(  # type: ignore[method-assign]
            (rule["rule.to_gates.bias"][0] + size * noise["rule.to_gates.bias"][0] - 1) ** 2
        )
    )
    torch.manual_seed(0)
    learner.loss(EPISODE).backward()
    slope = -learner.rule.to_gates.bias.grad  # type: ignore[union-attr, operator]
    assert slope[0].item() == pytest.approx(2.0, rel=0.3)
    assert slope[1:].abs().max() < 0.6


def test_oracle_reptile_gradient_is_start_less_end() -> None:
    learner = Reptile(encoder(), inner_steps=2)
    learner.loss(EPISODE).backward()
    everything = TokenStates(*(torch.cat(pair) for pair in zip(EPISODE.support, EPISODE.query, strict=True)))
    labels = torch.cat([LABELS, EPISODE.query_labels])
    end = Maml(learner.encoder, inner_steps=2)
    end.load_state_dict(learner.state_dict())
    moved = end.adapt(everything, labels, 3)
    expected = learner.encoder.out - moved["encoder.out"]
    torch.testing.assert_close(learner.encoder.out.grad, expected.detach(), atol=1e-6, rtol=1e-4)
    assert learner.head_row is not None and learner.head_row.grad is not None
    rows = (learner.head_row - moved["head"]).sum(0)
    torch.testing.assert_close(learner.head_row.grad, rows.detach(), atol=1e-6, rtol=1e-4)


def test_oracle_meta_sgd_with_equal_steps_is_maml() -> None:
    ours, theirs = MetaSgd(encoder(), inner_steps=3, inner_lr=0.2), Maml(encoder(), inner_steps=3, inner_lr=0.2)
    theirs.load_state_dict({key: value for key, value in ours.state_dict().items() if key in theirs.state_dict()})
    torch.testing.assert_close(ours.loss(EPISODE), theirs.loss(EPISODE))


def test_anil_and_proto_maml_are_maml_with_one_thing_fixed() -> None:
    torch.manual_seed(1)
    anil = Anil(encoder())
    same = Maml(encoder(), adapts="head")
    same.load_state_dict(anil.state_dict())
    torch.testing.assert_close(anil.loss(EPISODE), same.loss(EPISODE))
    assert set(anil.adapt(EPISODE.support, LABELS, 3)) == {"head"}
    torch.testing.assert_close(ProtoMaml(encoder()).loss(EPISODE), Maml(encoder(), prototype_start=True).loss(EPISODE))


def test_oracle_adam_is_that_of_torch() -> None:
    rule, weight = Adam(0.1), torch.tensor([1.0, -2.0])
    theirs = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    weights, state = {"w": weight}, rule.start({"w": weight}, TaskShape(2, 1.0, 3))
    for t in range(3):
        grad = torch.tensor([0.3, -1.0 * t])
        weights, state = rule.step(t, weights, {"w": grad}, torch.tensor(0.0), state)
        theirs.grad = grad
        optimizer.step()
    torch.testing.assert_close(weights["w"], theirs.detach())


def test_scratch_lstm_fits_its_support() -> None:
    learner = ScratchLSTM(encoder(), inner_steps=60)
    task = learner.adapt(EPISODE.support, LABELS, 3)
    assert torch.equal(learner.logits(task, EPISODE.support).argmax(-1), LABELS)


def test_oracle_joint_training_is_one_classifier_over_all_classes() -> None:
    learner = Finetune(encoder(), n_classes=5)
    torch.nn.init.normal_(learner.joint_head)
    labels = EPISODE.classes[torch.cat([LABELS, EPISODE.query_labels])]  # type: ignore[index]
    features = torch.cat([learner.features(EPISODE.support), learner.features(EPISODE.query)])
    logits = features @ learner.joint_head[:, :-1].T + learner.joint_head[:, -1]
    torch.testing.assert_close(learner.loss(EPISODE), torch.nn.functional.cross_entropy(logits, labels))
    with pytest.raises(ValueError, match="joint training needs the classes"):
        learner.loss(EPISODE._replace(classes=None))


def test_learners_without_prototypes_say_so() -> None:
    learner = ScratchLSTM(encoder())
    with pytest.raises(ValueError, match="class names need a learner with prototypes; set label_names = false"):
        learner.adapt(EPISODE.support, LABELS, 3, draw(3, 3))
    with pytest.raises(ValueError, match="this learner was given features; it needs token states"):
        learner.features(torch.zeros(2, 6))
