"""From a recipe to its parts: device, embedding, model, class split."""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from meta_text.config import Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ConfigError
from meta_text.learners import LEARNERS
from meta_text.learners.encoder import TextEncoder, run_cell
from meta_text.model.model import MetaModel

INNER_OPTIONS = ("encoder", "n_classes", "checkpoint_steps")  # of learners, which no recipe sets under [learner]


def chosen_device(name: str | None) -> torch.device:
    """A device by name; None takes CUDA if there is one. Raises ValueError for one that is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device '{name}' is none that torch knows; cpu, cuda or cuda:0 is needed") from None
    here = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
    if (device.index or 0) >= here.get(device.type, 1):
        raise ValueError(
            f"device '{name}' is not here (torch finds {here[device.type]} of kind {device.type}); "
            "use cpu, or leave device out"
        )
    return device


def build_embedding(recipe: Recipe, training_texts: Sequence[str]) -> Embedding:
    """The embedding a recipe asks for; only a learned one reads the (training classes') texts."""
    wanted = recipe.embedding
    if wanted.kind == "learned":
        return Embedding.learned(
            training_texts,
            width=wanted.width,
            vocabulary=wanted.vocabulary,
            max_tokens=wanted.max_tokens,
            seed=recipe.train.seed,
        )
    if wanted.kind == "static":
        return Embedding.static(wanted.model, max_tokens=wanted.max_tokens, train=wanted.train)
    return Embedding.transformer(
        wanted.model,
        max_tokens=wanted.max_tokens,
        train=wanted.train,
        revision=wanted.revision,
        rank=wanted.rank,
        seed=recipe.train.seed,
    )


def build_model(recipe: Recipe, embedding: Embedding, n_classes: int = 0) -> MetaModel:
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
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        learner = kind(build_encoder(recipe, embedding.width), **given)
    return MetaModel(embedding, learner, recipe)


def build_encoder(recipe: Recipe, width: int, run: Callable[..., Tensor] = run_cell) -> TextEncoder:
    """A fresh encoder over token states of this width; `run` runs its cells over the tokens."""
    shape = recipe.encoder
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
