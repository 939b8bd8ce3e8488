"""What the outer loop sees: the start, outer gradients, and the loss of a learner that trains its parts apart."""

import pytest
import torch
from test_learners import EPISODE, LABELS, draw, make

from meta_text.embedding.token_states import TokenStates
from meta_text.learners import EmbeddedEpisode
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import BIAS_FEATURE, from_centred, to_centred
from meta_text.learners.maml import Maml
from meta_text.learners.meta_lstm import MetaLSTM
from meta_text.learners.protonet import ProtoNet


def test_oracle_meta_lstm_with_zero_steps_is_protonet() -> None:
    ours, theirs = make("meta_lstm", inner_steps=0, label_names=True), make("protonet", label_names=True)
    assert isinstance(ours, MetaLSTM) and isinstance(theirs, ProtoNet)
    theirs.load_state_dict({key: value for key, value in ours.state_dict().items() if key in theirs.state_dict()})
    support, query = draw(6, 1), draw(4, 2)
    for names in (None, draw(3, 3)):
        first = ours.logits(ours.adapt(support, LABELS, 3, names), query)
        assert torch.equal(first, theirs.logits(theirs.adapt(support, LABELS, 3, names), query))


def maml_loss(learner: Maml, value: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        learner.encoder.out[0, 0] = value
    support, query = draw(6, 1), draw(4, 2)
    double = [TokenStates(t.states.double(), t.mask) for t in (support, query)]
    return learner.loss(EmbeddedEpisode(double[0], LABELS, double[1], torch.tensor([0, 1, 2, 0]), 3))


def test_oracle_maml_outer_gradient_by_finite_differences() -> None:
    gradients = {}
    for first_order in (False, True):
        learner = make("maml", inner_steps=2, inner_lr=0.2, first_order=first_order).double()
        assert isinstance(learner, Maml)
        at = learner.encoder.out[0, 0].detach().clone()
        maml_loss(learner, at).backward()
        assert learner.encoder.out.grad is not None
        gradients[first_order] = learner.encoder.out.grad[0, 0].item()
        step = 1e-5
        slope = (maml_loss(learner, at + step) - maml_loss(learner, at - step)).item() / (2 * step)
        if not first_order:
            assert gradients[False] == pytest.approx(slope, rel=1e-3)
    assert gradients[True] != pytest.approx(slope, rel=1e-3)


def test_oracle_inner_coordinates_are_those_of_centred_features() -> None:
    features, centre, head = torch.randn(5, 6), torch.randn(6), torch.randn(3, 7)
    inner = to_centred(head, centre)
    torch.testing.assert_close(from_centred(inner, centre), head)
    expected = features @ head[:, :-1].T + head[:, -1]
    torch.testing.assert_close((features - centre) @ inner[:, :-1].T + BIAS_FEATURE * inner[:, -1], expected)


def test_inner_scale_grows_with_the_shots() -> None:
    learner = MetaLSTM(TextEncoder(6, 4))
    scales = [learner.inner_scale(k).item() for k in (0.0, 0.5, 1.0, 2.25, 4.0, 9.0)]
    assert scales == pytest.approx([1, 1, 1, 1.5, 2, 3])


@pytest.mark.parametrize("name", ["protonet", "anil", "ridge", "bayes", "policy", "meta_lstm", "meta_lstm_2017"])
def test_features_may_stand_for_token_states(name: str) -> None:
    learner, support, query = make(name), draw(6, 1), draw(4, 2)
    assert not learner.needs_tokens
    task = learner.adapt(learner.features(support), LABELS, 3)
    expected = learner.logits(learner.adapt(support, LABELS, 3), query)
    torch.testing.assert_close(learner.logits(task, learner.features(query)), expected)


@pytest.mark.parametrize("name", ["protonet", "ridge", "bayes", "policy", "meta_lstm"])
def test_a_class_may_have_a_name_and_no_text(name: str) -> None:
    learner = make(name, label_names=True)
    task = learner.adapt(draw(6, 1), LABELS, 4, draw(4, 3))
    logits = learner.logits(task, draw(4, 3))
    assert logits.isfinite().all()
    assert logits[3].argmax() == 3


@pytest.mark.parametrize("names", [False, True])
def test_oracle_with_the_starts_loss_the_encoder_learns_as_under_protonet(names: bool) -> None:
    """And the rule as under the multi-step loss, for which the features are constants."""
    episode = EPISODE._replace(names=draw(3, 3)) if names else EPISODE
    ours, steps = (make("meta_lstm", label_names=True, encoder_loss=kind) for kind in ("start", "steps"))
    assert isinstance(ours, MetaLSTM) and isinstance(steps, MetaLSTM)
    proto = make("protonet", label_names=True)
    proto.load_state_dict({name: value for name, value in ours.state_dict().items() if name in proto.state_dict()})
    steps.load_state_dict(ours.state_dict())
    losses = [learner.loss(episode) for learner in (ours, proto, steps)]
    torch.testing.assert_close(losses[0], losses[1] + losses[2])
    for loss in losses:
        loss.backward()
    for name, p in ours.encoder.named_parameters():
        torch.testing.assert_close(p.grad, dict(proto.encoder.named_parameters())[name].grad)
        assert not torch.allclose(p.grad, dict(steps.encoder.named_parameters())[name].grad, atol=1e-6)
    for name, p in ours.rule.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, dict(steps.rule.named_parameters())[name].grad)


def test_oracle_the_query_loss_is_cross_entropy_at_its_best_sharpness() -> None:
    from scipy.optimize import minimize_scalar

    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(12, 3, generator=generator) * 0.1
    labels = torch.arange(12) % 3
    scores[torch.arange(12), labels] += 0.1  # mostly right, not separable
    learner = MetaLSTM(TextEncoder(6, 4))

    def at(sharpness: float, scores: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(sharpness * scores, labels)

    best = minimize_scalar(lambda a: at(a, scores).item(), bounds=(1, 200), method="bounded")
    plain = at(learner.log_scale.exp(), scores)
    assert learner.query_loss(scores, labels).item() == pytest.approx(best.fun + plain.item(), abs=2e-3)

    asked = scores.clone().requires_grad_()
    ours, scale = torch.autograd.grad(learner.query_loss(asked, labels), [asked, learner.log_scale])
    theirs = torch.autograd.grad(at(best.x, asked), asked)[0]
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
    torch.testing.assert_close(scale, torch.autograd.grad(at(learner.log_scale.exp(), scores), learner.log_scale)[0])
    # longer scores cost nothing: along themselves there is no gradient, but for the spacing of what is tried
    assert (ours * scores).sum().abs() < 0.01 * (ours.norm() * scores.norm())
