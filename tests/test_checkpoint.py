"""Checkpointed inner steps: the same losses and gradients, without the graph of the steps."""

import copy
import inspect
from dataclasses import replace

import pytest
import torch
from test_learners import draw, make
from test_model import RECIPE, colours
from torch import Tensor

from meta_text.config import EpisodeConfig, LearnerConfig, TrainConfig
from meta_text.corpus.class_split import ClassSplit
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ConfigError
from meta_text.learners import LEARNERS, EmbeddedEpisode, Learner
from meta_text.model.build import build_model
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import over_tasks
from meta_text.training.trainer import Trainer

GRADIENT = [name for name, kind in LEARNERS.items() if "checkpoint_steps" in inspect.signature(kind).parameters]


def batch(names: bool) -> EmbeddedEpisode:
    """Two tasks of three classes."""
    support, query, given = (
        type(draw(6, 0))(*(torch.stack(pair) for pair in zip(draw(size, seed), draw(size, seed + 10), strict=True)))
        for size, seed in ((6, 1), (3, 2), (3, 3))
    )
    labels = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 1, 2]])
    return EmbeddedEpisode(support, labels, query, torch.tensor([[0, 1, 2], [2, 0, 1]]), 3, given if names else None)


def loss_of(learner: Learner, names: bool = False) -> Tensor:
    torch.manual_seed(0)
    return over_tasks(learner.loss, batch(names)).sum()


def nodes(loss: Tensor) -> int:
    """Size of the graph that the outer backward will walk."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return len(seen)


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("name", GRADIENT)
def test_gradients_are_equal_with_and_without(name: str, names: bool) -> None:
    if names and not make(name).takes_names:
        pytest.skip(f"{name} has no place for class names")
    results = []
    for checkpointed in (False, True):
        learner = make(name, checkpoint_steps=checkpointed)
        loss = loss_of(learner, names)
        parameters = [p for p in learner.parameters() if p.requires_grad]
        results.append([loss.detach(), *torch.autograd.grad(loss, parameters, allow_unused=True)])
    torch.testing.assert_close(results[1], results[0])
    assert any(grad is not None and grad.abs().sum() > 0 for grad in results[0][1:])


@pytest.mark.parametrize("name", GRADIENT)
def test_a_step_leaves_a_graph_of_its_inputs_alone(name: str) -> None:
    grown = {}
    for checkpointed in (False, True):
        sizes = []
        for steps in (2, 6):
            sizes.append(nodes(loss_of(make(name, inner_steps=steps, checkpoint_steps=checkpointed))))
        grown[checkpointed] = sizes[1] - sizes[0]
    assert grown[True] < grown[False] / 2


def test_a_learner_without_steps_is_refused() -> None:
    recipe = replace(RECIPE, learner=LearnerConfig("ridge"), train=TrainConfig(checkpoint_steps=True))
    with pytest.raises(
        ConfigError, match=r"checkpoint_steps = true, but learner 'ridge' has no inner steps to recompute; leave it out"
    ):
        build_model(recipe, Embedding.learned(["a b"], width=4))


def test_training_with_checkpoints_ends_where_training_without_does() -> None:
    corpus = colours()
    embedding = Embedding.learned(corpus.texts, width=16)
    split = ClassSplit.by_seed(corpus, 0)
    found = []
    for checkpointed in (False, True):
        settings = TrainConfig(outer_steps=3, episodes_per_step=2, validation_episodes=4, checkpoint_steps=checkpointed)
        recipe = replace(RECIPE, train=settings, episode=EpisodeConfig(n_way=2, k_shot=2))
        model = build_model(recipe, copy.deepcopy(embedding))
        trainer = Trainer(model, EmbeddedCorpus(corpus, model.embedding), split)
        assert model.learner.checkpoint_steps is checkpointed
        found.append(trainer.run().loss)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
