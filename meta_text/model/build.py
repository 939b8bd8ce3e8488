"""From a recipe to its parts: embedding, model, class split."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from meta_text.config import LearnerConfig, Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.pretrained import local_folder
from meta_text.embedding.process import float32_parameters, one_thread_at_a_time, own_settings
from meta_text.errors import ConfigError
from meta_text.learners import LEARNERS, Learner
from meta_text.learners.encoder import NoEncoder, TextEncoder, run_cell
from meta_text.learners.plain_lstm import Finetune, ScratchLSTM
from meta_text.model.model import MetaModel
from meta_text.wording import did_you_mean

INNER_OPTIONS = ("encoder", "n_classes", "checkpoint_steps")  # of learners; a recipe cannot set them under [learner]


def build_embedding(
    recipe: Recipe, training_texts: Sequence[str], commit: str | None = None
) -> Embedding | EncoderBlocks:
    """The embedding a recipe asks for; only a learned one reads the (training classes') texts.

    commit: of the Hub repository that the files came from, if they are no longer in a snapshot folder.
    """
    settings = recipe.embedding
    if settings.kind == "encoders":
        if settings.train != "none":
            raise ConfigError(
                f"embedding.train = '{settings.train}', but encoders stay frozen; leave it out, or use kind = 'transformer'"
            )
        return EncoderBlocks(open_encoders(settings.encoders))
    if settings.kind == "learned":
        return Embedding.learned(
            training_texts,
            width=settings.width,
            vocabulary=settings.vocabulary,
            max_tokens=settings.max_tokens,
            seed=recipe.train.seed,
        )
    if settings.kind == "static":
        return Embedding.static(settings.model, max_tokens=settings.max_tokens, train=settings.train, commit=commit)
    return Embedding.transformer(
        settings.model,
        max_tokens=settings.max_tokens,
        train=settings.train,
        revision=settings.revision,
        commit=commit,
        rank=settings.rank,
        seed=recipe.train.seed,
    )


def build_model(recipe: Recipe, embedding: Embedding | EncoderBlocks, n_classes: int = 0) -> MetaModel:
    """A fresh learner on an embedding, drawn from the recipe's seed; the global random state is left alone.

    n_classes: of the corpus; only joint training uses it.

    Raises ConfigError for an unknown learner or an option that this learner does not have.
    """
    settings = recipe.learner
    if settings.name not in LEARNERS:
        raise _no_learner(settings.name)
    kind = LEARNERS[settings.name]
    accepted = inspect.signature(kind).parameters
    _check_reads_vectors(kind, settings, embedding)
    options = {
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
        if (value := getattr(settings, key)) is not None and value is not False  # 0 steps is a valid setting
    }
    if "label_names" in options:
        options["label_names"] = True  # "both" only affects training
    for key in options:
        if key not in accepted:
            has = ", ".join(name for name in accepted if name not in INNER_OPTIONS) or "none"
            raise ConfigError(f"learner '{settings.name}' has no option '{key}' (it has: {has}); leave it out")
    if recipe.train.checkpoint_steps:
        if "checkpoint_steps" not in accepted:
            raise ConfigError(
                f"train.checkpoint_steps = true, but learner '{settings.name}' has no inner steps to recompute; leave it out"
            )
        options["checkpoint_steps"] = True
    if "n_classes" in accepted:
        options["n_classes"] = n_classes
    with own_settings(), torch.random.fork_rng(), one_thread_at_a_time(), float32_parameters():
        torch.manual_seed(recipe.train.seed)
        learner = kind(build_encoder(recipe, embedding.width), **options)
    return MetaModel(embedding, learner, _with_resolved_paths(recipe, embedding))


def _check_reads_vectors(kind: type[Learner], settings: LearnerConfig, embedding: Embedding | EncoderBlocks) -> None:
    """Raises ConfigError for a learner that runs an LSTM over token states, which sentence encoders do not give."""
    if not isinstance(embedding, EncoderBlocks):
        return
    if issubclass(kind, ScratchLSTM | Finetune):
        raise ConfigError(
            f"learner '{settings.name}' reads token states, but the encoders {embedding.model} give one vector per text; "
            "use another learner, such as 'ridge', or leave the encoders out"
        )
    if settings.adapts in ("encoder", "recurrent"):
        raise ConfigError(
            f"learner.adapts = '{settings.adapts}', but the encoders {embedding.model} stay frozen and give one vector per "
            "text, so only the head can change; use adapts = 'head', or kind = 'transformer' under [embedding]"
        )


def _with_resolved_paths(recipe: Recipe, embedding: Embedding | EncoderBlocks) -> Recipe:
    """An embedding, or an encoder, named by its folder is found from any working directory."""
    if isinstance(embedding, EncoderBlocks):
        return replace(recipe, embedding=replace(recipe.embedding, kind="encoders", encoders=embedding.sources))
    folder = None if recipe.embedding.kind == "learned" else local_folder(recipe.embedding.model)
    return recipe if folder is None else replace(recipe, embedding=replace(recipe.embedding, model=str(folder)))


def build_encoder(recipe: Recipe, width: int, run: Callable[..., Tensor] = run_cell) -> TextEncoder:
    """A fresh encoder over token states of this width; `run` runs its cells over the tokens."""
    shape = recipe.encoder
    if recipe.embedding.kind == "encoders":
        return NoEncoder(width)
    return TextEncoder(width, shape.hidden, shape.cell, shape.bidirectional, run)


def check_learners(recipe: Recipe, names: Sequence[str]) -> None:
    """Raises ConfigError for an unknown learner or invalid options, before any training."""
    for name in names:
        if name not in LEARNERS and name != "auto":
            raise _no_learner(name)
        recipe.with_learner(name)


def _no_learner(name: str) -> ConfigError:
    known = (*LEARNERS, "auto")
    hint = did_you_mean(name, known) or f"; use one of {', '.join(known)}"
    return ConfigError(f"unknown learner '{name}'{hint}")


def open_split(recipe: Recipe, corpus: Corpus) -> ClassSplit:
    """The class split a recipe asks for: a file, listed domains, class_splits/N.json, or a seed."""
    split = recipe.corpus.split
    if isinstance(split, str):
        return ClassSplit.from_file(split).check(corpus)
    for key in ("domains", str(split)):
        if key in corpus.class_splits:
            return corpus.class_splits[key].check(corpus)
    if corpus.class_splits:
        raise ConfigError(
            f"corpus '{corpus.name}' has no class split {split}; use one of {', '.join(corpus.class_splits)}"
        )
    return ClassSplit.by_seed(corpus, split)
