"""From a recipe to its parts: embedding, model, class split."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from meta_text.config import Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.pretrained import local_folder
from meta_text.embedding.process import float32_parameters, one_thread_at_a_time, own_settings
from meta_text.errors import ConfigError
from meta_text.learners import LEARNERS
from meta_text.learners.encoder import NoEncoder, TextEncoder, run_cell
from meta_text.model.model import MetaModel

INNER_OPTIONS = ("encoder", "n_classes", "checkpoint_steps")  # of learners, which no recipe sets under [learner]


def build_embedding(
    recipe: Recipe, training_texts: Sequence[str], commit: str | None = None
) -> Embedding | EncoderBlocks:
    """The embedding a recipe asks for; only a learned one reads the (training classes') texts.

    commit: of the Hub repository that the files came from, for files that no longer lie in a snapshot.
    """
    wanted = recipe.embedding
    if wanted.kind == "encoders":
        if wanted.train != "none":
            raise ConfigError(
                f"embedding.train = '{wanted.train}', but encoders stay frozen; leave it out, or use kind = 'transformer'"
            )
        return EncoderBlocks(open_encoders(wanted.encoders))
    if wanted.kind == "learned":
        return Embedding.learned(
            training_texts,
            width=wanted.width,
            vocabulary=wanted.vocabulary,
            max_tokens=wanted.max_tokens,
            seed=recipe.train.seed,
        )
    if wanted.kind == "static":
        return Embedding.static(wanted.model, max_tokens=wanted.max_tokens, train=wanted.train, commit=commit)
    return Embedding.transformer(
        wanted.model,
        max_tokens=wanted.max_tokens,
        train=wanted.train,
        revision=wanted.revision,
        commit=commit,
        rank=wanted.rank,
        seed=recipe.train.seed,
    )


def build_model(recipe: Recipe, embedding: Embedding | EncoderBlocks, n_classes: int = 0) -> MetaModel:
    """A fresh learner on an embedding, drawn from the recipe's seed; the global random state is left alone.

    n_classes: of the corpus; only joint training has a use for it.

    Raises ConfigError for an unknown learner or an option that this learner does not have.
    """
    wanted = recipe.learner
    if wanted.name not in LEARNERS:
        raise _no_learner(wanted.name)
    kind = LEARNERS[wanted.name]
    accepted = inspect.signature(kind).parameters
    given = {
        key: value
        for key in (
            "inner_steps",
            "inner_lr",
            "first_order",
            "adapts",
            "prototype_start",
            "encoder_loss",
            "label_names",
        )
        if (value := getattr(wanted, key)) is not None and value is not False  # 0 steps is a choice
    }
    if "label_names" in given:
        given["label_names"] = True  # "both" is a matter of training
    for key in given:
        if key not in accepted:
            has = ", ".join(name for name in accepted if name not in INNER_OPTIONS) or "none"
            raise ConfigError(f"learner '{wanted.name}' has no option '{key}' (it has: {has}); leave it out")
    if recipe.train.checkpoint_steps:
        if "checkpoint_steps" not in accepted:
            raise ConfigError(
                f"train.checkpoint_steps = true, but learner '{wanted.name}' has no steps to compute again; leave it out"
            )
        given["checkpoint_steps"] = True
    if "n_classes" in accepted:
        given["n_classes"] = n_classes
    with own_settings(), torch.random.fork_rng(), one_thread_at_a_time(), float32_parameters():
        torch.manual_seed(recipe.train.seed)
        learner = kind(build_encoder(recipe, embedding.width), **given)
    return MetaModel(embedding, learner, _with_resolved_paths(recipe))


def _with_resolved_paths(recipe: Recipe) -> Recipe:
    """An embedding named by its folder is found from any working folder."""
    folder = None if recipe.embedding.kind in ("learned", "encoders") else local_folder(recipe.embedding.model)
    return recipe if folder is None else replace(recipe, embedding=replace(recipe.embedding, model=str(folder)))


def build_encoder(recipe: Recipe, width: int, run: Callable[..., Tensor] = run_cell) -> TextEncoder:
    """A fresh encoder over token states of this width; `run` runs its cells over the tokens."""
    shape = recipe.encoder
    if recipe.embedding.kind == "encoders":
        return NoEncoder(width)
    return TextEncoder(width, shape.hidden, shape.cell, shape.bidirectional, run)


def check_learners(recipe: Recipe, names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is no learner, or options that a recipe cannot give it, before any training."""
    for name in names:
        if name not in LEARNERS and name != "auto":
            raise _no_learner(name)
        recipe.with_learner(name)


def _no_learner(name: str) -> ConfigError:
    return ConfigError(f"no learner '{name}'; there are {', '.join(LEARNERS)} and auto")


def open_split(recipe: Recipe, corpus: Corpus) -> ClassSplit:
    """The class split a recipe asks for: a file, listed domains, class_splits/N.json, or a seed."""
    wanted = recipe.corpus
    if isinstance(wanted.split, str):
        return ClassSplit.from_file(wanted.split).check(corpus)
    for key in ("domains", str(wanted.split)):
        if key in corpus.class_splits:
            return corpus.class_splits[key].check(corpus)
    if corpus.class_splits:
        raise ConfigError(
            f"corpus '{corpus.name}' has no class split {wanted.split}; there are {', '.join(corpus.class_splits)}"
        )
    return ClassSplit.by_seed(corpus, wanted.split)
