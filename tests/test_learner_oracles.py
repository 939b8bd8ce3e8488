"""The learners against the twins in oracles.py, on features and in double precision."""

import copy
import inspect
import math
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from meta_text.embedding.token_states import TokenStates
from meta_text.learners import LEARNERS, EmbeddedEpisode, Learner, policy
from meta_text.learners.closed_form import Bayes, Ridge
from meta_text.learners.encoder import HyperLSTMCell, LSTMCell, TextEncoder
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.inner_loop import TaskShape
from meta_text.learners.learner import balanced_cross_entropy, likeness
from meta_text.learners.maml import Anil, Maml, ProtoMaml
from meta_text.learners.meta_lstm import GatedRule, MetaLSTM
from meta_text.learners.meta_lstm_2017 import CoordinateRule, MetaLSTM2017, preprocess
from meta_text.learners.meta_sgd import MetaSgd
from meta_text.learners.plain_lstm import Adam, Finetune, ScratchLSTM
from meta_text.learners.policy import Policy, macro_f1
from meta_text.learners.protonet import ProtoNet
from meta_text.learners.reptile import Reptile

WIDTH = 6
LABELS = [0, 0, 0, 1, 2, 2]  # uneven
QUERY_LABELS = [0, 1, 2, 0]


def unit(texts: int, seed: int) -> Tensor:
    rows = torch.randn(texts, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows + 0.5, dim=-1)


SUPPORT, QUERY, NAMES = unit(6, 1), unit(4, 2), unit(3, 3)


def tokens(texts: int, seed: int) -> TokenStates:
    states = torch.randn(texts, 5, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return TokenStates(states, torch.ones(texts, 5, dtype=torch.bool))


def shaken(learner: Any) -> Any:
    """In double precision, no parameter at a special value."""
    learner = learner.double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return learner


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def episode(names: bool = False) -> EmbeddedEpisode:
    given = NAMES if names else None
    return EmbeddedEpisode(SUPPORT, torch.tensor(LABELS), QUERY, torch.tensor(QUERY_LABELS), 3, given)


def prototype_start(learner: Learner, names: bool) -> tuple[np.ndarray, np.ndarray, list[int], list[float], float]:
    """Prototypes, support rows with names, their labels and weights, and what a name is worth, by the twin."""
    worth = math.exp(learner.log_name_weight.item())
    centres = oracles.prototypes(SUPPORT.numpy(), LABELS, 3, NAMES.numpy() if names else None, worth)
    x, labels, weights = SUPPORT.numpy(), LABELS, [1.0] * 6
    if names:
        x, labels, weights = np.concatenate([x, NAMES.numpy()]), [*LABELS, 0, 1, 2], [*weights, *[worth] * 3]
    return centres, x, labels, weights, worth


def excess_of(learner: Learner, names: bool) -> np.ndarray:
    worth = math.exp(learner.log_name_weight.item()) if names else 0.0
    return oracles.length_excess(SUPPORT.numpy(), LABELS, 3, worth)


# the start


@pytest.mark.parametrize("names", [False, True])
def test_protonet_is_softmax_over_negative_squared_distances(names: bool) -> None:
    learner = shaken(ProtoNet(TextEncoder(WIDTH, 4)))
    centres = prototype_start(learner, names)[0]
    distances = oracles.squared_distances(QUERY.numpy(), centres) - excess_of(learner, names)
    expected = oracles.softmax(-math.exp(learner.log_scale.item()) * distances)
    task = learner.adapt(SUPPORT, torch.tensor(LABELS), 3, NAMES if names else None)
    np.testing.assert_allclose(learner.logits(task, QUERY).softmax(-1).detach().numpy(), expected, atol=1e-12)
    loss = learner.loss(episode(names)).item()
    assert loss == pytest.approx(-np.mean([math.log(expected[i, n]) for i, n in enumerate(QUERY_LABELS)]))


def test_likeness_is_one_less_the_squared_distance() -> None:
    centres = unit(3, 5) * 0.7
    expected = 1 - oracles.squared_distances(QUERY.numpy(), centres.numpy())
    np.testing.assert_allclose(likeness(QUERY, centres).numpy(), expected, atol=1e-12)
    own = torch.stack([centres[[0, 1]], centres[[1, 2]], centres[[2, 0]], centres[[0, 2]]])
    theirs = [[expected[i, n] for n in pair] for i, pair in enumerate([(0, 1), (1, 2), (2, 0), (0, 2)])]
    np.testing.assert_allclose(likeness(QUERY, own).numpy(), theirs, atol=1e-12)
    learner = ProtoNet(TextEncoder(WIDTH, 4)).double()
    excess = np.array([0.3, -0.2, 0.1])
    ours = learner.likeness(centres, QUERY, torch.tensor(excess)).detach().numpy()
    np.testing.assert_allclose(ours, (expected + excess).max(1), atol=1e-12)
    np.testing.assert_allclose(learner.likeness(centres, QUERY).detach().numpy(), expected.max(1), atol=1e-12)


def test_balanced_cross_entropy() -> None:
    logits, weights = torch.randn(6, 3, dtype=torch.float64), [2.0, 1, 1, 5, 1, 0.5]
    ours = balanced_cross_entropy(logits, torch.tensor(LABELS), 3, torch.tensor(weights, dtype=torch.float64))
    assert ours.item() == pytest.approx(oracles.balanced_cross_entropy(logits.numpy(), LABELS, 3, weights))


# the encoder


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "run"), [("lstm", oracles.run_lstm), ("hyper", oracles.run_hyper_lstm)])
def test_a_feature_token_by_token(cell: Any, run: Any, bidirectional: bool) -> None:
    encoder = shaken(TextEncoder(WIDTH, 4, cell, bidirectional))
    batch, lengths = tokens(3, 1), [5, 2, 4]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    weights = arrays(encoder)
    expected = [oracles.encode(weights, s[:n].numpy(), run) for s, n in zip(batch.states, lengths, strict=True)]
    ours = encoder(TokenStates(batch.states, mask)).detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-10)


def test_cells_start_as_documented() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(30, 16)
    assert cell.bias.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32  # the forget gate is open
    for weight in (cell.weight_ih, cell.weight_hh):
        assert 0.9 * 16**-0.5 < weight.max() <= 16**-0.5
        assert -(16**-0.5) <= weight.min() < -0.9 * 16**-0.5
    hyper = HyperLSTMCell(30, 16)
    assert not hyper.scales.any()
    assert hyper.hyper.hidden == 16 and hyper.scales.shape == (12 * 16, 16)
    assert hyper.hyper_from_main.shape == (64, 16)
    assert 0.9 * 16**-0.5 < hyper.hyper_from_main.max() <= 16**-0.5
    assert -(16**-0.5) <= hyper.hyper_from_main.min() < -0.9 * 16**-0.5
    assert TextEncoder(30).out.shape == (30, 128)
    assert TextEncoder(30, 16, bidirectional=False).out.shape == (30, 16)


# steps of the head


def walked(learner: GradientLearner, names: bool = False) -> np.ndarray:
    task = learner.adapt(SUPPORT, torch.tensor(LABELS), 3, NAMES if names else None)
    return task["head"].detach().numpy()


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_and_its_relatives_descend_by_hand(steps: int) -> None:
    options = {"inner_steps": steps, "inner_lr": 0.2}
    encoder = TextEncoder(WIDTH, 4)
    learned = [
        Anil(encoder, **options),
        Maml(encoder, adapts="head", **options),
        MetaSgd(encoder, adapts="head", **options),
    ]
    for learner in learned:
        learner = shaken(learner)
        step_size = learner.rule.steps["head"].detach().numpy() if isinstance(learner, MetaSgd) else 0.2
        start = np.tile(learner.head_row.detach().numpy(), (3, 1))
        scale = math.exp(learner.log_scale.item())
        rule = oracles.gradient_descent(step_size)
        expected = oracles.head_steps(start, rule, steps, SUPPORT.numpy(), LABELS, [1.0] * 6, scale)[-1]
        np.testing.assert_allclose(walked(learner), expected, atol=1e-10)
    for learner in (
        ProtoMaml(encoder, adapts="head", **options),
        Maml(encoder, adapts="head", prototype_start=True, **options),
    ):
        learner = shaken(learner)
        for names in (False, True):
            centres, x, labels, weights, _ = prototype_start(learner, names)
            excess = excess_of(learner, names)
            start = np.array([[*(2 * c), e - c @ c] for c, e in zip(centres, excess, strict=True)])
            scale = math.exp(learner.log_scale.item())
            rule = oracles.gradient_descent(0.2)
            expected = oracles.head_steps(start, rule, steps, x, labels, weights, scale, excess)[-1]
            np.testing.assert_allclose(walked(learner, names), expected, atol=1e-10)


def gated_heads(
    learner: Any, names: bool, shots: float, noted: list[tuple[float, float, float]] | None = None
) -> list[np.ndarray]:
    """The heads of `meta_lstm` after each step, by the twin: centred features, a scale and a bias of their own."""
    centres, x, labels, weights, _ = prototype_start(learner, names)
    centre, root = centres.mean(0), math.sqrt(0.1)
    scale = math.exp(learner.log_inner_scale.item() + learner.shots_power.item() * math.log(max(shots, 1.0)))
    excess = excess_of(learner, names)
    start = np.array([[*(2 * c), (e - c @ c + 2 * c @ centre) / root] for c, e in zip(centres, excess, strict=True)])
    # the twin's last feature is 1; ours is root: the same as a bias counted in units of root
    steps = learner.steps_for(shots)
    rule = oracles.gated_rule(
        arrays(learner.rule), start=start, steps=steps, n_way=3, shots=shots, scale=scale, is_head=True, noted=noted
    )

    def in_units_of_root(t: int, head: np.ndarray, grad: np.ndarray, loss: float) -> np.ndarray:
        unscaled = np.concatenate([head[:, :-1], head[:, -1:] / root], axis=1)
        moved = rule(t, unscaled, np.concatenate([grad[:, :-1], grad[:, -1:] * root], axis=1), loss)
        return np.concatenate([moved[:, :-1], moved[:, -1:] * root], axis=1)

    first = np.concatenate([start[:, :-1], start[:, -1:] * root], axis=1)
    heads = oracles.head_steps(first, in_units_of_root, steps, x - centre, labels, weights, scale, excess)
    return [np.concatenate([h[:, :-1], (h[:, -1] - h[:, :-1] @ centre)[:, None]], axis=1) for h in heads]


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("kind", [MetaLSTM, Policy])
def test_meta_lstm_step_by_step(kind: type[GradientLearner], names: bool) -> None:
    learner = shaken(kind(TextEncoder(WIDTH, 4), inner_steps=3, inner_lr=0.5))  # type: ignore[call-arg]
    expected = gated_heads(learner, names, 2.0)
    np.testing.assert_allclose(walked(learner, names), expected[-1], atol=1e-9)
    scale = math.exp(learner.log_scale.item())
    task = learner.adapt(SUPPORT, torch.tensor(LABELS), 3, NAMES if names else None)
    answers = scale * (QUERY.numpy() @ expected[-1][:, :-1].T + expected[-1][:, -1])
    np.testing.assert_allclose(learner.logits(task, QUERY).detach().numpy(), answers, atol=1e-8)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("names", [False, True])
def test_meta_lstm_multi_step_loss(names: bool, checkpointed: bool) -> None:
    options = {"inner_steps": 3, "inner_lr": 0.5, "checkpoint_steps": checkpointed}
    learner = shaken(MetaLSTM(TextEncoder(WIDTH, 4), **options))
    scores = [QUERY.numpy() @ head[:, :-1].T + head[:, -1] for head in gated_heads(learner, names, 2.0)]
    losses = [oracles.query_loss(s, QUERY_LABELS, learner.log_scale.item()) for s in scores]
    assert learner.loss(episode(names)).item() == pytest.approx(oracles.multi_step_loss(losses))
    plain = [oracles.cross_entropy(math.exp(learner.log_scale.item()) * s, QUERY_LABELS) for s in scores]
    ours = GradientLearner.query_loss(learner, torch.tensor(scores[0]), torch.tensor(QUERY_LABELS))
    assert ours.item() == pytest.approx(plain[0])


@pytest.mark.parametrize("spread", [0.02, 0.1, 1.0])
def test_query_loss_at_any_spread_of_scores(spread: float) -> None:
    learner = shaken(MetaLSTM(TextEncoder(WIDTH, 4)))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, 9)
        scores = spread * (rng.normal(size=(9, 4)) + np.eye(4)[labels])
        ours = learner.query_loss(torch.tensor(scores), torch.tensor(labels)).item()
        assert ours == pytest.approx(oracles.query_loss(scores, labels.tolist(), learner.log_scale.item()))


def test_query_loss_takes_the_mean_of_equally_good_sharpnesses() -> None:
    """Scores that say nothing are as good at every sharpness; the loss is ln N at any."""
    learner = MetaLSTM(TextEncoder(WIDTH, 4))
    scores = torch.zeros(4, 3, requires_grad=True)
    loss = learner.query_loss(scores, torch.tensor(QUERY_LABELS))
    assert loss.item() == pytest.approx(2 * math.log(3))
    (grad,) = torch.autograd.grad(loss, scores)
    mean = np.mean([1.22**i for i in range(28)])
    expected = mean * (np.full((4, 3), 1 / 3) - np.eye(3)[QUERY_LABELS]) / 4
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("head", (3, 7)), ("encoder.out", (3, 7)), ("encoder.bias", (5,))])
@pytest.mark.parametrize("shots", [0.05, 4.0])
def test_gated_rule_row_by_row(name: str, shape: tuple[int, ...], shots: float) -> None:
    rule = shaken(GatedRule(0.3, adapts="encoder"))
    start = torch.randn(shape, dtype=torch.float64)
    weights, task = {name: start}, TaskShape(3, shots, 4, 1.7)
    state = rule.start(weights, task)
    rows = start.numpy().reshape(1, -1) if start.ndim == 1 else start.numpy()
    twin = oracles.gated_rule(
        arrays(rule), start=rows, steps=4, n_way=3, shots=shots, scale=1.7, is_head=name == "head"
    )
    expected = rows
    for t in range(4):
        grad, loss = torch.randn(shape, dtype=torch.float64), torch.rand((), dtype=torch.float64)
        weights, state = rule.step(t, weights, {name: grad}, loss, state)
        expected = twin(t, expected, grad.numpy().reshape(rows.shape), loss.item())
        np.testing.assert_allclose(weights[name].detach().numpy().reshape(rows.shape), expected, atol=1e-9)


def test_gated_rule_starts_as_documented() -> None:
    rule = GatedRule(0.3)
    assert not rule.to_gates.weight.any() and not rule.to_gates.bias.any()
    assert rule.log_lr_head.exp().item() == pytest.approx(0.3)
    assert rule.log_lr_encoder.exp().item() == pytest.approx(1e-3)
    assert not rule.log_lr_encoder.requires_grad and rule.log_lr_head.requires_grad
    assert rule.cell.hidden == 20 and rule.cell.weight_ih.shape == (80, 9)
    for adapts in ("encoder", "recurrent"):
        assert GatedRule(0.3, adapts).log_lr_encoder.requires_grad


def test_the_rules_statistics_are_no_path_for_the_gradient() -> None:
    rule = shaken(GatedRule(0.3))
    start = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    loss = torch.ones((), dtype=torch.float64, requires_grad=True)
    state = rule.start({"head": start}, TaskShape(3, 1.0, 2))
    first, state = rule.step(0, {"head": start}, {"head": grad}, loss, state)
    second, _ = rule.step(1, first, {"head": grad}, loss, state)
    by_start, by_grad, by_loss = torch.autograd.grad(second["head"].sum(), [start, grad, loss], allow_unused=True)
    assert by_loss is None
    torch.testing.assert_close(by_start, torch.ones_like(start))  # theta_0 moves all that follows as it moves
    assert all(torch.allclose(row, row[0]) for row in by_grad)  # a row's coordinates share its gates, and nothing else


# the rule of 2017


def test_coordinate_rule_weight_by_weight() -> None:
    rule = shaken(CoordinateRule())
    start = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    grads = [torch.tensor([[0.5, -1e-6]]), torch.tensor([[-0.2, 0.4]]), torch.tensor([[0.0, 2.0]])]
    losses = [1.3, 0.4, 1e-7]
    weights, state = {"w": start}, rule.start({"w": start}, TaskShape(2, 1.0, 3))
    for t, (grad, loss) in enumerate(zip(grads, losses, strict=True)):
        weights, state = rule.step(t, weights, {"w": grad.double()}, torch.tensor(loss, dtype=torch.float64), state)
    twins = [
        oracles.coordinate_rule(arrays(rule), start[0, i].item(), [g.double()[0, i].item() for g in grads], losses)
        for i in range(2)
    ]
    np.testing.assert_allclose(weights["w"].detach().numpy(), [twins], rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 1e-4, math.exp(-10), -math.exp(-9.9), 4e-5, -2e-5, 3.0, -0.5])
def test_preprocess(value: float) -> None:
    ours = preprocess(torch.tensor([value], dtype=torch.float64))[0].tolist()
    assert ours == pytest.approx(oracles.preprocessed(value))


def test_the_rule_of_2017_starts_as_published() -> None:
    rule = CoordinateRule()
    assert rule.cell.hidden == 20
    for weight in (rule.cell.weight_ih, rule.cell.weight_hh, rule.forget, rule.input):
        assert weight.abs().max() <= 0.01 and weight.min() < -0.005 and weight.max() > 0.005
    biases = [CoordinateRule() for _ in range(30)]
    for low, high, values in ((4, 5, [r.forget_bias for r in biases]), (-5, -4, [r.input_bias for r in biases])):
        assert low <= min(values) < low + 0.3 and high - 0.3 < max(values) <= high
    learner = MetaLSTM2017(TextEncoder(WIDTH, 4))
    assert [learner.steps_for(k) for k in (0.5, 1.0, 1.9, 2.0, 5.0)] == [12, 12, 12, 8, 8]
    told = MetaLSTM2017(TextEncoder(WIDTH, 4), inner_steps=3)
    assert [told.steps_for(k) for k in (1.0, 5.0)] == [3, 3]
    assert MetaLSTM2017(TextEncoder(WIDTH, 4), inner_steps=0).steps_for(1.0) == 0
    assert learner.first_order and not learner.takes_names


# steps of head and encoder, by torch's own optimisers


def optimised(
    learner: GradientLearner, steps: int, frozen: tuple[str, ...], data: TokenStates, labels: list[int]
) -> Any:
    """Encoder and head after SGD on the class-balanced cross-entropy."""
    encoder = copy.deepcopy(learner.encoder)
    head = torch.nn.Parameter(learner.head_row.detach().repeat(3, 1))  # type: ignore[union-attr]
    moving = [p for name, p in encoder.named_parameters() if not name.endswith(frozen)]
    optimizer = torch.optim.SGD([head, *moving], lr=0.2)
    counts = torch.tensor([labels.count(n) for n in range(3)], dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = learner.log_scale.exp().detach() * (encoder(data) @ head[:, :-1].T + head[:, -1])
        torch.nn.functional.cross_entropy(logits, torch.tensor(labels), weight=1 / counts).backward()
        optimizer.step()
    return encoder, head


@pytest.mark.parametrize(("adapts", "frozen"), [("encoder", ("nothing",)), ("recurrent", ("weight_ih", ".bias"))])
def test_maml_moves_the_encoder_as_sgd_does(adapts: Any, frozen: tuple[str, ...]) -> None:
    learner = shaken(Maml(TextEncoder(WIDTH, 4), adapts=adapts, inner_steps=3, inner_lr=0.2))
    support, query = tokens(6, 1), tokens(4, 2)
    encoder, head = optimised(learner, 3, frozen, support, LABELS)
    expected = learner.log_scale.exp() * (encoder(query) @ head[:, :-1].T + head[:, -1])
    ours = learner.logits(learner.adapt(support, torch.tensor(LABELS), 3), query)
    torch.testing.assert_close(ours, expected)
    losses = []
    for steps in range(4):
        encoder, head = optimised(learner, steps, frozen, support, LABELS)
        scores = learner.log_scale.exp() * (encoder(query) @ head[:, :-1].T + head[:, -1])
        losses.append(torch.nn.functional.cross_entropy(scores, torch.tensor(QUERY_LABELS)).item())
    batch = EmbeddedEpisode(support, torch.tensor(LABELS), query, torch.tensor(QUERY_LABELS), 3)
    assert learner.multi_step_loss(batch).item() == pytest.approx(oracles.multi_step_loss(losses))
    assert learner.loss(batch).item() == pytest.approx(losses[-1])


def test_reptiles_gradient_is_start_less_end() -> None:
    learner = shaken(Reptile(TextEncoder(WIDTH, 4), inner_steps=2, inner_lr=0.2))
    support, query = tokens(6, 1), tokens(4, 2)
    batch = EmbeddedEpisode(support, torch.tensor(LABELS), query, torch.tensor(QUERY_LABELS), 3)
    learner.loss(batch).backward()
    everything = TokenStates(*(torch.cat(pair) for pair in zip(support, query, strict=True)))
    encoder, head = optimised(learner, 2, ("nothing",), everything, LABELS + QUERY_LABELS)
    for (name, start), (_, end) in zip(learner.encoder.named_parameters(), encoder.named_parameters(), strict=True):
        torch.testing.assert_close(start.grad, (start - end).detach(), msg=name)
    torch.testing.assert_close(learner.head_row.grad, (learner.head_row - head).sum(0).detach())
    ways = [(a - b).square().sum() for a, b in zip(learner.encoder.parameters(), encoder.parameters(), strict=True)]
    ways.append((learner.head_row - head).square().sum())
    assert learner.loss(batch).item() == pytest.approx(sum(w.item() for w in ways) / 2)
    assert not learner.log_scale.requires_grad and learner.first_order


def test_adam_is_that_of_the_paper() -> None:
    rule, twin = Adam(0.1), oracles.adam(0.1)
    weights = {"w": torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)}
    expected, state = weights["w"].numpy(), rule.start(weights, TaskShape(2, 1.0, 4))
    for t, values in enumerate([[0.3, -1.0, 1e-9], [0.1, 2.0, 0.0], [-0.3, 0.1, 1e-8], [0.2, 0.2, 0.2]]):
        grad = torch.tensor(values, dtype=torch.float64)
        weights, state = rule.step(t, weights, {"w": grad}, torch.tensor(0.0), state)
        expected = twin(t, expected, grad.numpy(), 0.0)
    np.testing.assert_allclose(weights["w"].numpy(), expected, rtol=1e-9)


def test_scratch_lstm_is_nn_lstm_under_torchs_adam() -> None:
    """From a zero head: means of both directions' states, a linear map, class-balanced cross-entropy."""
    learner = shaken(ScratchLSTM(TextEncoder(WIDTH, 4), inner_steps=4, inner_lr=0.05))
    support, query = tokens(6, 1), tokens(4, 2)
    lstm = torch.nn.LSTM(WIDTH, 4, batch_first=True, bidirectional=True).double()
    head = torch.nn.Parameter(torch.zeros(3, 9, dtype=torch.float64))
    with torch.no_grad():
        for side, suffix in (("forward_cell", ""), ("backward_cell", "_reverse")):
            getattr(lstm, f"weight_ih_l0{suffix}").copy_(learner.encoder.get_parameter(f"{side}.weight_ih"))
            getattr(lstm, f"weight_hh_l0{suffix}").copy_(learner.encoder.get_parameter(f"{side}.weight_hh"))
            getattr(lstm, f"bias_ih_l0{suffix}").copy_(learner.encoder.get_parameter(f"{side}.bias"))
            getattr(lstm, f"bias_hh_l0{suffix}").zero_().requires_grad_(False)
    optimizer = torch.optim.Adam([head, *(p for name, p in lstm.named_parameters() if "bias_hh" not in name)], lr=0.05)

    def answers(texts: TokenStates) -> Tensor:
        pooled = lstm(torch.nn.functional.layer_norm(texts.states, (WIDTH,)))[0].mean(1)
        return pooled @ head[:, :-1].T + head[:, -1]

    for _ in range(4):
        optimizer.zero_grad()
        weight = 1 / torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
        torch.nn.functional.cross_entropy(answers(support), torch.tensor(LABELS), weight=weight).backward()
        optimizer.step()
    ours = learner.logits(learner.adapt(support, torch.tensor(LABELS), 3), query)
    torch.testing.assert_close(ours, answers(query), rtol=1e-6, atol=1e-8)
    assert not any(p.requires_grad for p in learner.parameters())


# closed forms


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("kind", [Ridge, Bayes])
def test_ridge_and_bayes_by_the_normal_equations(kind: type[Ridge], names: bool) -> None:
    learner = shaken(kind(TextEncoder(WIDTH, 4)))
    centres, x, labels, weights, _ = prototype_start(learner, names)
    centre = centres.mean(0)
    totals = np.array([sum(w for w, label in zip(weights, labels, strict=True) if label == n) for n in range(3)])
    balanced = np.array([w * totals.mean() / totals[label] for w, label in zip(weights, labels, strict=True)])
    targets = np.eye(3)[labels] - 1 / 3
    penalty, scale = math.exp(learner.log_ridge.item()), math.exp(learner.log_scale.item())
    centred = QUERY.numpy() - centre
    if isinstance(learner, Bayes):
        variances = learner.log_prior_variance.exp().detach().numpy()
        rows, covariance = oracles.bayes(x - centre, targets, balanced, penalty, variances)
        spread = np.array([q @ covariance @ q for q in centred])
        tempered = np.sqrt(1 + math.exp(learner.log_tempering.item()) * spread)[:, None]
    else:
        rows, tempered = oracles.ridge(x - centre, targets, balanced, penalty), 1.0
    task = learner.adapt(SUPPORT, torch.tensor(LABELS), 3, NAMES if names else None)
    expected = scale * centred @ rows.T / tempered
    np.testing.assert_allclose(learner.logits(task, QUERY).detach().numpy(), expected, atol=1e-9)


def test_closed_forms_start_as_documented() -> None:
    learner = Bayes(TextEncoder(WIDTH, 4))
    assert learner.log_ridge.item() == 0 and learner.log_tempering.item() == 0
    assert learner.log_prior_variance.tolist() == [0.0] * WIDTH
    assert learner.log_scale.exp().item() == pytest.approx(10)
    assert learner.log_name_weight.exp().item() == pytest.approx(1.5)
    for wanted in (False, True):
        assert Ridge(TextEncoder(WIDTH, 4), label_names=wanted).log_name_weight.requires_grad is wanted


# search


def test_macro_f1() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, answers = rng.integers(0, 3, 6), rng.integers(0, 5, 6)
        expected = oracles.macro_scores(answers.tolist(), labels.tolist(), range(5))[2]
        assert macro_f1(torch.tensor(answers), torch.tensor(labels), 5).item() == pytest.approx(expected, rel=1e-5)


def test_the_policys_gradient_is_the_estimate_by_evolution_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SIGMA", 3.0)  # four queries: a small change of the rule changes no answer
    learner = shaken(Policy(TextEncoder(WIDTH, 4), inner_steps=2, inner_lr=0.5))
    torch.manual_seed(3)
    loss = learner.loss(episode())
    loss.backward()
    task = learner.adapt(SUPPORT, torch.tensor(LABELS), 3)
    plain = torch.nn.functional.cross_entropy(learner.logits(task, QUERY), torch.tensor(QUERY_LABELS))
    assert loss.item() == pytest.approx(plain.item())
    names = [name for name, p in learner.rule.named_parameters() if p.requires_grad]
    sizes = [dict(learner.rule.named_parameters())[name].numel() for name in names]
    at = {name: value.clone() for name, value in learner.rule.state_dict().items()}

    def score(change: np.ndarray) -> float:
        moved, parts = dict(at), np.split(change, np.cumsum(sizes)[:-1])
        for name, part in zip(names, parts, strict=True):
            moved[name] = at[name] + torch.tensor(part).view(at[name].shape)
        learner.rule.load_state_dict(moved)
        answers = learner.logits(learner.adapt(SUPPORT, torch.tensor(LABELS), 3), QUERY).argmax(-1)
        return oracles.macro_scores(answers.tolist(), QUERY_LABELS, range(3))[2]

    torch.manual_seed(3)
    noises = [np.concatenate([torch.randn_like(at[name]).flatten().numpy() for name in names]) for _ in range(4)]
    slope = oracles.evolution_slope(score, noises, 3.0)
    assert np.abs(slope).max() > 0
    ours = np.concatenate([dict(learner.rule.named_parameters())[name].grad.flatten().numpy() for name in names])
    np.testing.assert_allclose(ours, -slope, atol=1e-6)
    others = torch.autograd.grad(plain, [learner.log_scale, learner.log_inner_scale])
    assert learner.log_scale.grad.item() == pytest.approx(others[0].item())
    assert learner.log_inner_scale.grad.item() == pytest.approx(others[1].item())
    assert learner.rule.cell.hidden == 4


# what a learner does unless told otherwise

DEFAULTS: dict[str, dict[str, Any]] = {
    "scratch_lstm": {"inner_steps": 40, "inner_lr": 0.01},
    "finetune": {"inner_steps": 40, "inner_lr": 0.01},
    "reptile": {"inner_steps": 5, "inner_lr": 0.1},
    "maml": {"inner_steps": 5, "inner_lr": 0.1, "adapts": "encoder", "prototype_start": False, "first_order": False},
    "meta_sgd": {
        "inner_steps": 1,
        "inner_lr": 0.1,
        "adapts": "encoder",
        "prototype_start": False,
        "first_order": False,
    },
    "anil": {"inner_steps": 5, "inner_lr": 0.1, "first_order": False},
    "proto_maml": {"inner_steps": 5, "inner_lr": 0.1, "adapts": "encoder", "first_order": False},
    "protonet": {},
    "ridge": {},
    "bayes": {},
    "policy": {"inner_steps": 5, "inner_lr": 8.0},
    "meta_lstm_2017": {"inner_steps": None, "adapts": "head"},
    "meta_lstm": {"inner_steps": 5, "inner_lr": 8.0, "adapts": "head", "first_order": False, "encoder_loss": "steps"},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_defaults_are_those_that_the_results_were_measured_with(name: str) -> None:
    parameters = inspect.signature(LEARNERS[name]).parameters
    told = {"encoder", "n_classes", "label_names", "checkpoint_steps"}
    assert {key: p.default for key, p in parameters.items() if key not in told} == DEFAULTS[name]
    for key in ("label_names", "checkpoint_steps"):
        assert key not in parameters or parameters[key].default is False


def test_a_learned_start_is_small() -> None:
    row = Maml(TextEncoder(200, 4)).head_row
    assert row is not None and row.shape == (201,)
    assert row.abs().max() <= 0.01 and row.min() < -0.005 and row.max() > 0.005
    learner = MetaLSTM(TextEncoder(WIDTH, 4))
    assert learner.head_row is None and not learner.needs_tokens and learner.takes_names
    assert (learner.log_inner_scale.item(), learner.shots_power.item()) == (0.0, 0.5)
    assert (policy.SIGMA, policy.DIRECTIONS) == (0.1, 4)


NEEDS_TOKENS = {"scratch_lstm", "finetune", "reptile", "maml", "meta_sgd", "proto_maml"}
TAKES_NAMES = {"proto_maml", "protonet", "ridge", "bayes", "policy", "meta_lstm"}
FIRST_ORDER = {"reptile", "meta_lstm_2017"}


@pytest.mark.parametrize("name", LEARNERS)
def test_what_a_learner_needs_and_takes_by_default(name: str) -> None:
    options = {"n_classes": 3} if name == "finetune" else {}
    learner: Any = LEARNERS[name](TextEncoder(WIDTH, 4), **options)
    assert learner.needs_tokens == (name in NEEDS_TOKENS)
    assert learner.takes_names == (name in TAKES_NAMES)
    assert getattr(learner, "first_order", False) == (name in FIRST_ORDER)
    assert not getattr(learner, "checkpoint_steps", False)
    assert not learner.log_name_weight.requires_grad


def test_joint_training_moves_the_lstm_and_its_head_alone() -> None:
    learner = Finetune(TextEncoder(WIDTH, 4), n_classes=3)
    moving = {name for name, p in learner.named_parameters() if p.requires_grad}
    sides = [
        f"encoder.{side}.{name}"
        for side in ("forward_cell", "backward_cell")
        for name in ("weight_ih", "weight_hh", "bias")
    ]
    assert moving == {*sides, "joint_head"}


def test_a_learner_must_adapt_and_answer() -> None:
    class Half(Learner):
        def logits(self, task: Any, query: Any) -> Any:
            return query

    class OtherHalf(Learner):
        def adapt(self, support: Any, labels: Any, n_way: int, names: Any = None) -> Any:
            return {}

    for kind in (Half, OtherHalf):
        with pytest.raises(TypeError, match="abstract"):
            kind(TextEncoder(WIDTH, 4))  # type: ignore[abstract]


def test_a_task_of_unknown_sharpness_has_the_scale_one() -> None:
    assert TaskShape(3, 1.0, 2).scale == 1
