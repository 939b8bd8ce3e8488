"""Second-order meta-training: tasks vectorized with the project's own cell, against one after another with nn.LSTM.

The sequential way works as learn2learn does: it clones the weights, takes the inner steps with
`autograd.grad(create_graph=True)` and backpropagates through the query loss of each task. Both ways compute the same
loss on the same episodes; the difference is reported.
"""

import sys

import torch
from measuring import peak_mib, repeat, tell, timed
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from meta_text.embedding.token_states import TokenStates
from meta_text.learners import EmbeddedEpisode
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.learner import balanced_cross_entropy, head_logits, prototype_head
from meta_text.learners.maml import Maml
from meta_text.model.model import over_tasks

WIDTH, HIDDEN, TOKENS = 384, 64, 16
TURNS = 5
ADAPTED = {
    "encoder": ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "out"),
    "recurrent": ("weight_hh_l0", "out"),
    "head": (),
}


def learner(adapts: str = "encoder", inner_steps: int = 5, checkpoint_steps: bool = False) -> Maml:
    """MAML from the prototypes over a text encoder, with none of its matrices at zero."""
    torch.manual_seed(0)
    made = Maml(
        TextEncoder(WIDTH, HIDDEN, bidirectional=False),
        inner_steps=inner_steps,
        adapts=adapts,
        prototype_start=True,
        checkpoint_steps=checkpoint_steps,
    )
    nn.init.normal_(made.encoder.out, std=0.05)
    return made


def episodes(
    tasks: int = 8, n_way: int = 5, k_shot: int = 5, tokens: int = TOKENS, n_query: int = 5
) -> EmbeddedEpisode:
    """Random token states, because speed does not depend on content. Lengths vary from a quarter to the whole."""
    drawn = torch.Generator().manual_seed(1)

    def texts(count: int) -> TokenStates:
        states = torch.randn(tasks, count, tokens, WIDTH, generator=drawn)
        lengths = torch.randint(max(1, tokens // 4), tokens + 1, (tasks, count, 1), generator=drawn)
        lengths[:, 0] = tokens
        return TokenStates(states, torch.arange(tokens) < lengths)

    support, query = (torch.arange(n_way).repeat_interleave(each).expand(tasks, -1) for each in (k_shot, n_query))
    return EmbeddedEpisode(texts(n_way * k_shot), support, texts(n_way * n_query), query, n_way)


def side_by_side(made: Maml, batch: EmbeddedEpisode) -> float:
    """Runs the forward and backward pass of one outer step through vmap; returns the loss."""
    loss = over_tasks(made.loss, batch).mean()
    loss.backward()
    return loss.item()


class Sequential:
    """The same start and the same inner steps, with nn.LSTM and autograd."""

    def __init__(self, made: Maml) -> None:
        self.made = made
        self.adapted = ADAPTED[made.adapts]
        cell = made.encoder.forward_cell
        self.lstm = nn.LSTM(WIDTH, HIDDEN, batch_first=True)
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(cell.weight_ih)
            self.lstm.weight_hh_l0.copy_(cell.weight_hh)
            self.lstm.bias_ih_l0.copy_(cell.bias)
            self.lstm.bias_hh_l0.zero_()
        self.lstm.bias_hh_l0.requires_grad_(False)
        self.out = nn.Parameter(made.encoder.out.detach().clone())

    def start(self) -> dict[str, Tensor]:
        """Cloned weights: inner gradients must not flow through the head's start, made from the originals."""
        named = {"out": self.out, **dict(self.lstm.named_parameters())}
        return {name: weight.clone() for name, weight in named.items()}

    def features(self, weights: dict[str, Tensor], texts: TokenStates) -> Tensor:
        states, mask = texts
        real = mask[..., None].to(states.dtype)
        sentence = F.normalize((states * real).sum(1) / real.sum(1), dim=-1)
        lstm = {name: weight for name, weight in weights.items() if name in dict(self.lstm.named_parameters())}
        hidden, _ = functional_call(self.lstm, lstm, (F.layer_norm(states, states.shape[-1:]),))
        pooled = (hidden * real).sum(1) / real.sum(1)
        return F.normalize(sentence + F.linear(pooled, weights["out"]), dim=-1)

    def task_loss(self, episode: EmbeddedEpisode) -> Tensor:
        weights, scale = self.start(), self.made.log_scale.exp()
        labels, ones = episode.support_labels, torch.ones(len(episode.support_labels))
        start = self.features({"out": self.out, **dict(self.lstm.named_parameters())}, episode.support)
        prototypes = self.made.prototypes(start, labels, episode.n_way, None)
        weights["head"] = prototype_head(prototypes, prototypes.new_zeros(episode.n_way))
        names = ("head", *self.adapted)
        for _ in range(self.made.inner_steps):
            logits = head_logits(weights["head"], self.features(weights, episode.support), scale)
            loss = balanced_cross_entropy(logits, labels, episode.n_way, ones)
            grads = torch.autograd.grad(loss, [weights[name] for name in names], create_graph=True)
            moved = {n: weights[n] - self.made.rule.inner_lr * g for n, g in zip(names, grads, strict=True)}
            weights = {**weights, **moved}
        logits = head_logits(weights["head"], self.features(weights, episode.query), scale)
        return F.cross_entropy(logits, episode.query_labels)

    def __call__(self, batch: EmbeddedEpisode) -> float:
        tasks = len(batch.support_labels)
        total = 0.0
        for i in range(tasks):
            one = EmbeddedEpisode(
                TokenStates(*(part[i] for part in batch.support)),
                batch.support_labels[i],
                TokenStates(*(part[i] for part in batch.query)),
                batch.query_labels[i],
                batch.n_way,
            )
            loss = self.task_loss(one) / tasks
            loss.backward()
            total += loss.item()
        return total


def main() -> None:
    """`meta_training.py - OUT ADAPTS WAY`. "both" times all ways in turns, any other WAY measures its peak memory."""
    adapts, way = sys.argv[3:5]
    made, again, batch = learner(adapts), learner(adapts, checkpoint_steps=True), episodes()
    ways = {
        "sequential": Sequential(made),
        "side": lambda batch: side_by_side(made, batch),
        "checkpointed": lambda batch: side_by_side(again, batch),
    }
    if way != "both":
        before = peak_mib()
        repeat(lambda: ways[way](batch), 1)
        tell({"mib": [peak_mib() - before]})
        return
    losses = [run(batch) for run in ways.values()]
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, run in ways.items():
            speeds[name].append(8 / timed(lambda run=run: run(batch))[0])
    tell({**speeds, "loss_gap": max(losses) - min(losses)})


if __name__ == "__main__":
    main()
