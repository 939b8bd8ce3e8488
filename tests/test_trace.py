"""What a learner did on a task: gates, step sizes and losses against twins, and that writing them down changes nothing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from test_classifier import small_model
from test_figures import shown  # noqa: F401 (a fixture)
from test_learner_oracles import (
    LABELS,
    QUERY,
    QUERY_LABELS,
    WIDTH,
    arrays,
    episode,
    excess_of,
    gated_heads,
    prototype_start,
    shaken,
)
from test_learners import draw, make
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.config import EpisodeShape
from meta_text.corpus.corpus import Corpus
from meta_text.errors import ConfigError
from meta_text.figures.steps import plot_steps
from meta_text.figures.task_map import plot_map, projected
from meta_text.figures.tasks import Scene, TracedTask, traced
from meta_text.learners import LEARNERS, EmbeddedEpisode
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.maml import Maml
from meta_text.learners.meta_lstm import GatedRule, MetaLSTM
from meta_text.learners.meta_lstm_2017 import MetaLSTM2017
from meta_text.learners.meta_sgd import MetaSgd
from meta_text.learners.protonet import ProtoNet
from meta_text.learners.trace import centres, places, trace

INTENTS = Path(__file__).parent.parent / "data" / "intents"
STEPPING = [name for name, kind in LEARNERS.items() if issubclass(kind, GradientLearner)]


@pytest.mark.parametrize("names", [False, True])
def test_oracle_gates_and_losses_of_meta_lstm(names: bool) -> None:
    learner = shaken(MetaLSTM(TextEncoder(WIDTH, 4), inner_steps=3, inner_lr=0.5))
    found = trace(learner, episode(names), temperature=1.7)
    noted: list[tuple[float, float, float]] = []
    heads = gated_heads(learner, names, 2.0, noted)
    assert [list(step) for step in found.gates] == [["head"]] * 3
    for name, expected in zip(
        ("step_size", "forget", "momentum"), np.array(noted).reshape(3, 3, 3).transpose(2, 0, 1), strict=True
    ):
        ours = np.stack([getattr(step["head"], name).numpy()[:, 0] for step in found.gates])
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
    _, x, labels, weights, _ = prototype_start(learner, names)
    excess = excess_of(learner, names)
    scale = math.exp(learner.log_scale.item())
    inner = math.exp(learner.log_inner_scale.item() + learner.shots_power.item() * math.log(2.0))
    for t, head in enumerate(heads):
        np.testing.assert_allclose(found.tasks[t]["head"].numpy(), head, atol=1e-9)
        scores = inner * (x @ head[:, :-1].T + head[:, -1])
        for i, label in enumerate(labels):
            scores[i, label] -= 3.5 * inner * excess[label]
        assert found.support_loss[t].item() == pytest.approx(oracles.balanced_cross_entropy(scores, labels, 3, weights))
        asked = scale * (QUERY.numpy() @ head[:, :-1].T + head[:, -1])
        assert found.query_loss[t].item() == pytest.approx(oracles.cross_entropy(asked / 1.7, QUERY_LABELS))
        assert found.query_accuracy[t].item() == pytest.approx(np.mean(asked.argmax(1) == QUERY_LABELS))


def test_oracle_gates_of_the_published_rule() -> None:
    """theta_t = f theta - i g, coordinate by coordinate, by the twin's small LSTM."""
    learner = shaken(MetaLSTM2017(TextEncoder(WIDTH, 4), inner_steps=2))
    found, w = trace(learner, episode()), arrays(learner.rule)
    scale = math.exp(learner.log_scale.item())
    x = np.concatenate([episode().support.numpy(), np.ones((6, 1))], axis=1)
    state: dict[int, Any] = {}
    for t in range(2):
        head = found.tasks[t]["head"].numpy()
        scores = scale * x @ head.T
        p, grad = oracles.softmax(scores), np.zeros_like(head)
        for i, label in enumerate(LABELS):
            grad += np.outer(p[i] - np.eye(3)[label], scale * x[i]) / LABELS.count(label) / 3
        loss = oracles.balanced_cross_entropy(scores, LABELS, 3, [1.0] * 6)
        for j, (theta, g) in enumerate(zip(head.flatten(), grad.flatten(), strict=True)):
            h, c, forget, put = state.get(j, (np.zeros(20), np.zeros(20), 0.0, 0.0))
            seen = np.array([*oracles.preprocessed(loss), *oracles.preprocessed(g)])
            z = w["cell.weight_ih"] @ seen + w["cell.weight_hh"] @ h + w["cell.bias"]
            h, c = oracles.lstm_step(z, c)
            forget = w["forget"] @ [*h, theta, forget] + w["forget_bias"]
            put = w["input"] @ [*h, theta, put] + w["input_bias"]
            state[j] = (h, c, forget, put)
            gates = found.gates[t]["head"]
            assert gates.forget is not None and gates.momentum is None
            assert gates.forget[j].item() == pytest.approx(oracles.sigmoid(forget), rel=1e-7)
            assert gates.step_size[j].item() == pytest.approx(oracles.sigmoid(put), rel=1e-7)


def test_step_sizes_of_the_other_learners() -> None:
    found = trace(Maml(TextEncoder(WIDTH, 4), inner_lr=0.3, adapts="head").double(), episode())
    assert {step["head"].step_size.item() for step in found.gates} == {0.3} and len(found.gates) == 5
    learner = shaken(MetaSgd(TextEncoder(WIDTH, 4), adapts="head"))
    torch.testing.assert_close(
        trace(learner, episode()).gates[0]["head"].step_size, learner.rule.steps["head"].detach()
    )


@pytest.mark.parametrize("name", STEPPING)
def test_a_trace_ends_where_adapting_ends(name: str) -> None:
    learner = make(name)
    assert isinstance(learner, GradientLearner)
    labels = torch.tensor([0, 1, 2] * 3)
    given = EmbeddedEpisode(draw(9, 1), labels, draw(6, 2), torch.tensor([0, 1, 2] * 2), 3)
    found = trace(learner, given)
    adapted = learner.adapt(given.support, labels, 3)
    assert adapted.keys() == found.tasks[-1].keys()
    for key, tensor in adapted.items():
        torch.testing.assert_close(found.tasks[-1][key], tensor.detach(), rtol=0, atol=0)
    steps = learner.steps_for(3.0)
    assert (
        len(found.gates) == steps and len(found.support_loss) == len(found.query_loss) == len(found.tasks) == steps + 1
    )
    assert {*found.gates[0]} == {*adapted}
    middles = centres(learner, found.tasks[0], given)
    features = learner.features(given.support)
    expected = torch.stack([features[labels == n].mean(0) for n in range(3)])
    torch.testing.assert_close(middles, expected.detach(), atol=1e-5, rtol=1e-4)
    moved = places(learner, found.tasks[-1], given.support)
    # one learned row for all classes gives the encoder no gradient in the first step
    still = len(adapted) == 1 or (learner.head_row is not None and steps == 1)
    assert torch.equal(moved, features) == still


def test_nothing_is_written_down_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatedRule, "gates", lambda *_: pytest.fail("gates were written down"))
    MetaLSTM(TextEncoder(WIDTH, 4)).double().adapt(episode().support, torch.tensor(LABELS), 3)


def test_a_learner_without_steps_has_none_to_show() -> None:
    with pytest.raises(
        ConfigError, match=r"ProtoNet takes no learned steps, so it has no gates or step sizes to show; use a"
    ):
        trace(ProtoNet(TextEncoder(WIDTH, 4)), episode())


# figures of a task


def small_task(n_way: int = 3, **shape: int) -> TracedTask:
    return traced(small_model(), Corpus.open(INTENTS), EpisodeShape(n_way, **{"k_shot": 2, "n_query": 2, **shape}))


def test_a_task_is_traced_as_a_classifier_adapts() -> None:
    task, corpus = small_task(), Corpus.open(INTENTS)
    assert task.title == "intents, 3 classes, 2 texts per class: meta_lstm"
    scene = task.scene(0)
    assert scene.support.shape == (6, scene.centres.shape[1]) and scene.query.shape[0] == len(scene.is_right) == 6
    labels = task.episode.support_labels.numpy()
    means = np.stack([scene.support[labels == n].mean(0) for n in range(3)])
    np.testing.assert_allclose(scene.centres, means, atol=1e-5)
    assert not np.allclose(task.scene(-1).centres, means, atol=1e-3)
    assert task.scene(-1).is_right.mean() == pytest.approx(task.trace.query_accuracy[-1].item())
    assert set(task.class_names) <= set(corpus.class_names)


def test_oracle_principal_components() -> None:
    rng = np.random.default_rng(0)
    first, second = (Scene(*(rng.normal(size=(n, 5)) for n in (6, 4, 3)), np.ones(4, bool)) for _ in range(2))
    flat, shares = projected((first, second))
    everything = np.concatenate([getattr(s, part) for s in (first, second) for part in ("support", "query", "centres")])
    middle = everything.mean(0)
    values, vectors = np.linalg.eigh(np.cov((everything - middle).T))
    expected = (everything - middle) @ vectors[:, ::-1][:, :2]
    ours = np.concatenate([getattr(s, part) for s in flat for part in ("support", "query", "centres")])
    np.testing.assert_allclose(np.abs(ours), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum())


def test_a_map_has_the_same_axes_before_and_after(tmp_path: Path, shown: list[Figure]) -> None:  # noqa: F811
    plot_map(small_task(), tmp_path / "m.svg")
    before, after = shown[0].axes
    assert before.get_xlim() == after.get_xlim() and before.get_ylim() == after.get_ylim()
    assert before.get_title().startswith("before the steps: ") and after.get_title().startswith("after 5 steps: ")
    assert len(after.texts) == 3 and not before.texts  # an arrow for each class


def test_the_legend_of_a_map_of_many_classes_is_beside_it(tmp_path: Path, shown: list[Figure]) -> None:  # noqa: F811
    plot_map(small_task(40, k_shot=1, n_query=1), tmp_path / "m.png")
    renderer = FigureCanvasAgg(shown[0]).get_renderer()
    box = shown[0].legends[0].get_window_extent(renderer)
    assert len(shown[0].legends[0].get_texts()) == 40
    assert not any(box.overlaps(panel.get_tightbbox(renderer)) for panel in shown[0].axes)
    looks = {(line.get_color(), line.get_marker()) for line in shown[0].axes[0].lines if line.get_marker() != "x"}
    assert len(looks) == 40


def test_steps_are_drawn_for_each_class_or_as_a_band(tmp_path: Path, shown: list[Figure]) -> None:  # noqa: F811
    few = small_task()
    plot_steps(few, tmp_path / "s.svg")
    plot_steps(small_task(13, k_shot=1), tmp_path / "s.svg")
    labels = [text.get_text() for text in shown[0].axes[2].get_legend().get_texts()]
    assert labels == [f"head: {name}" for name in few.class_names]
    assert [panel.get_ylabel().split("\n")[0] for panel in shown[0].axes] == [
        "loss, nats",
        "accuracy, %",
        "step size",
        "forget gate",
        "momentum",
    ]
    line = shown[0].axes[3].lines[1]
    assert line.get_ydata().tolist() == [step["head"].forget[1].item() for step in few.trace.gates]
    assert [text.get_text() for text in shown[1].axes[2].get_legend().get_texts()] == ["head, 13 values"]
    assert shown[1].axes[2].collections and not shown[0].axes[2].collections


def test_steps_and_map_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(small_model()).save_pretrained("steps")
    FewShotClassifier(small_model("protonet")).save_pretrained("still")
    words = ["--corpus", str(INTENTS), "--n-way", "2", "--n-query", "2"]
    assert run(monkeypatch, "show", "steps", "steps", *words, "--out", "s.svg") == 0
    assert run(monkeypatch, "show", "map", "steps", *words, "--out", "m.svg") == 0
    assert all("<svg" in Path(name).read_text() for name in ("s.svg", "m.svg"))
    capsys.readouterr()
    for model, more, message in (
        ("still", [], "ProtoNet takes no learned steps, so it has no gates or step sizes to show"),
        ("nowhere", [], "no model at nowhere"),
        ("steps", ["--n-way", "99"], "99"),
    ):
        assert run(monkeypatch, "show", "steps", model, *words, *more, "--out", "x.png") == 2
        assert message in capsys.readouterr().err
    assert not Path("x.png").exists()
