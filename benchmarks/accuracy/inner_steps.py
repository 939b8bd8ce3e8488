"""What the learned rule of the default model does at each inner step, and what each step is worth on new texts.

    python benchmarks/accuracy/inner_steps.py [--corpus intents] [--figure docs/figures/meta_lstm_steps.svg]

Tasks of ten classes drawn at random, with 1, 5 and 16 labels each; five other texts of each class are asked. Every task is learned
twice from the same start, in the same space of the same encoders: by the learned rule, and by the same rule before it was trained,
which is gradient descent with momentum.
"""

import argparse
import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from development_table import with_interval
from torch import Tensor, nn

from meta_text import Corpus
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.learners.gradient import GradientLearner, from_centred
from meta_text.learners.inner_loop import TaskShape, Weights
from meta_text.learners.learner import head_logits
from meta_text.learners.meta_lstm import FORGET_BIAS, GatedRule
from meta_text.model.model import MetaModel
from meta_text.model.task import Given, Placed
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

SHOTS, N_WAY, N_QUERY = (1, 5, 16), 10, 5
INNER_LR = 8.0  # step size of the rule before training
GATES = ("forget", "step size", "momentum")
Measured = dict[str, list[float]]  # one number for the start and one after each step; for gates one per step


class Watched(nn.Module):
    """A rule that notes its gates, the support loss that it saw, and the head before and after each step."""

    def __init__(self, rule: GatedRule) -> None:
        super().__init__()
        self.rule = rule
        self.gates, self.losses, self.heads = list[Tensor](), list[Tensor](), list[Tensor]()
        rule.to_gates.register_forward_hook(lambda _, __, gates: self.gates.append(gates))

    def start(self, weights: Weights, shape: TaskShape) -> Any:
        self.gates, self.losses, self.heads = [], [], [weights["head"]]
        return self.rule.start(weights, shape)

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Any) -> tuple[Weights, Any]:
        moved, state = self.rule.step(t, weights, grads, loss, state)
        self.losses.append(loss)
        self.heads.append(moved["head"])
        return moved, state


@torch.no_grad()
def walk(learner: GradientLearner, own: Placed, query: Tensor, labels: Tensor) -> Measured:
    """One task by one rule: mean gates over classes at each step, support loss before it, query accuracy before and after."""
    rule = learner.rule
    assert isinstance(rule, Watched) and isinstance(own.texts, Tensor)
    learner.adapt(own.texts, own.labels, N_WAY)
    centre = learner.prototypes(own.texts, own.labels, N_WAY, None).mean(0)
    one = torch.ones(())
    answers = [head_logits(from_centred(head, centre), query, one).argmax(-1) for head in rule.heads]
    forget, step, momentum = torch.stack(rule.gates).mean(1).unbind(-1)
    return {
        "forget": (forget + FORGET_BIAS).sigmoid().tolist(),
        "step size": (step + rule.rule.log_lr_head).exp().tolist(),
        "momentum": momentum.sigmoid().tolist(),
        "support loss": [float(loss) for loss in rule.losses],
        "accuracy": [100 * float((answer == labels).float().mean()) for answer in answers],
    }


def tasks(model: MetaModel, corpus: Corpus, shots: int, n_tasks: int) -> list[tuple[Placed, Tensor, Tensor]]:
    """The support of each task in its space, its queries there, and their labels."""
    rng, drawn = np.random.default_rng([shots, 7]), []
    enough = [name for name in corpus.class_names if len(corpus.rows_of(name)) >= shots + N_QUERY]
    for _ in range(n_tasks):
        names = sorted(rng.choice(enough, N_WAY, replace=False).tolist())
        rows = {name: rng.permutation(corpus.rows_of(name))[: shots + N_QUERY] for name in names}
        support = {name: [corpus.texts[row] for row in rows[name][:shots]] for name in names}
        known = [text for texts in support.values() for text in texts]
        asked = [(corpus.texts[row], column) for column, name in enumerate(names) for row in rows[name][shots:]]
        features = dict(zip(known, model.represent(known).parts, strict=True))
        own = Placed.of(Given(model, model.calibration.plain, support, None, features))
        query = model.in_space(own.space, torch.stack(list(model.represent([text for text, _ in asked]).parts)))
        assert isinstance(query, Tensor)
        drawn.append((own, query, torch.tensor([column for _, column in asked])))
    return drawn


def measure(model: MetaModel, corpus: Corpus, n_tasks: int) -> dict[tuple[str, int], list[Measured]]:
    """(rule, labels per class) -> what each task measured."""
    assert isinstance(model.learner, GradientLearner)
    learners = {}
    for name in ("learned", "untrained"):
        learners[name] = copy.deepcopy(model.learner)
        learners[name].rule = Watched(learners[name].rule if name == "learned" else GatedRule(INNER_LR))
    found: defaultdict[tuple[str, int], list[Measured]] = defaultdict(list)
    for shots in SHOTS:
        for own, query, labels in tasks(model, corpus, shots, n_tasks):
            for name, learner in learners.items():
                found[name, shots].append(walk(learner, own, query, labels))
    return found


def table(found: Mapping[tuple[str, int], Sequence[Measured]]) -> str:
    """A line for each rule and K: the gates at the first and last step, the accuracy of the start, and what the steps add.

    Points of accuracy with 95 % intervals over tasks."""
    heads = ["labels a class", "rule", "forget gate", "step size", "momentum", "support loss", "start, %"]
    heads += ["after five steps", "against untrained"]
    lines = [f"| {' | '.join(heads)} |", "| ---: " + "| --- " * (len(heads) - 1) + "|"]
    for (name, shots), walks in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        cells = [str(shots), name]
        for gate in (*GATES, "support loss"):
            first, last = (np.mean([one[gate][place] for one in walks]) for place in (0, -1))
            cells.append(f"{first:.3f} to {last:.3f}" if gate == "forget" else f"{first:.2f} to {last:.2f}")
        cells.append(f"{np.mean([one['accuracy'][0] for one in walks]):.1f}")
        ends = [one["accuracy"][-1] for one in walks]
        cells.append(with_interval(np.subtract(ends, [one["accuracy"][0] for one in walks])))
        others = [one["accuracy"][-1] for one in found["untrained", shots]]
        cells.append(with_interval(np.subtract(ends, others)) if name == "learned" else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: Mapping[tuple[str, int], Sequence[Measured]], path: Path) -> None:
    """Four panels over the inner steps: the three gates, and the accuracy gained on new texts. Readable in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = dict(zip((*GATES, "accuracy"), figure.subplots(2, 2).flat, strict=True))
    for shots, colour, marker in zip(SHOTS, ("#9ecae1", "#4292c6", "#08306b"), "o^s", strict=True):
        walks = found["learned", shots]
        label = f"{shots} label{'s' if shots > 1 else ''} a class"
        for gate in GATES:
            each = np.array([one[gate] for one in walks])
            low, high = np.percentile(each, [10, 90], axis=0)
            steps = np.arange(1, each.shape[1] + 1)
            panels[gate].plot(steps, each.mean(0), color=colour, marker=marker, label=label)
            panels[gate].fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        for name, style in (("learned", "-"), ("untrained", ":")):
            each = np.array([np.subtract(one["accuracy"], one["accuracy"][0]) for one in found[name, shots]])
            panels["accuracy"].plot(each.mean(0), style, color=colour, marker=marker)
    before = {"forget": torch.tensor(FORGET_BIAS).sigmoid().item(), "step size": INNER_LR, "momentum": 0.5}
    for gate, value in before.items():
        panels[gate].axhline(value, color="black", linestyle=":", label="untrained")
        panels[gate].set(xlabel="inner step", ylabel=gate, xticks=range(1, 6))
    panels["forget"].set_title("kept of the distance from the start")
    panels["step size"].set_title("step size, times the squared scale over N")
    panels["momentum"].set_title("kept of the last step's direction")
    panels["accuracy"].set(xlabel="inner steps taken", ylabel="points", xticks=range(6))
    panels["accuracy"].set_title("accuracy on new texts, gained over the start")
    for panel in panels.values():
        panel.grid(alpha=0.3)
    panels["forget"].legend(fontsize=8)
    for name, style in (("learned rule", "-"), ("untrained rule", ":")):
        panels["accuracy"].plot([], [], style, color="black", label=name)
    panels["accuracy"].legend(fontsize=8, loc="upper left")
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="intents")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    found = measure(model, Corpus.open(options.corpus), options.tasks)
    print(table(found))
    if options.figure is not None:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
