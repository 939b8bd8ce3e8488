"""Embedding and learner together: what is trained, saved and evaluated."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_text.config import ConfigError, Recipe
from meta_text.corpus.corpus import ClassSplit, Corpus
from meta_text.embedding.batching import Windows, by_length, windows_ahead
from meta_text.embedding.embedding import MAX_WINDOWS, Embedding, TokenStates
from meta_text.learners import LEARNERS, EmbeddedEpisode, Learner
from meta_text.learners.encoder import MetaLSTM
from meta_text.model.embedded_corpus import EmbeddedCorpus, FeatureCorpus

ENCODER_FACTOR = 8  # an LSTM pays a call for every token: its batches are larger than a transformer's


class MetaModel(nn.Module):
    """An embedding, a learner and the recipe that made them."""

    def __init__(self, embedding: Embedding, learner: Learner, recipe: Recipe) -> None:
        super().__init__()
        self.embedding, self.learner, self.recipe = embedding, learner, recipe

        self.engine_note = ""  # how the embedding is run, if that was chosen
        self.results: list[dict[str, Any]] = []  # of the tests after training
        self.calibration: dict[str, Any] = {}  # "plain" and "names": what calibration.Calibration.as_dict gives

    def __sklearn_clone__(self) -> "MetaModel":
        """Clones of a classifier share the weights, which stand still."""
        return self

    def __repr__(self) -> str:
        """Short, for it stands in the repr of classifiers."""
        return f"MetaModel({self.recipe.learner.name} over {self.embedding.model})"

    def represent(self, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """Each text as a feature [D], or as token states [T E] where the learner moves the encoder.

        The second value counts texts too long to be read whole.
        """
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        cut = 0
        for rows, read in windows_ahead(self.embedding.tokenizer, texts):
            cut += sum(len(windows) > MAX_WINDOWS for windows in read)
            read = [windows[:MAX_WINDOWS] for windows in read]
            for batch in by_length([sum(map(len, windows)) for windows in read]):
                for i, part in zip(batch, self._parts([read[i] for i in batch]), strict=True):
                    found[rows[i]] = part
        return found, cut

    def _parts(self, texts: Sequence[Windows]) -> Sequence[Tensor]:
        with torch.inference_mode():
            tokens = self.embedding.join(texts)
            features = None if self.learner.needs_tokens else self.learner.features(tokens)
        # cloned outside: what inference mode makes can take no part in a gradient step
        if features is not None:
            return features.clone().unbind()
        return [states[mask].clone() for states, mask in zip(*tokens, strict=True)]

    def standing_still(self, embedded: EmbeddedCorpus) -> EmbeddedCorpus:
        """A corpus for answers while nothing is trained: as features, unless the learner moves the encoder."""
        return embedded if self.learner.needs_tokens else FeatureCorpus(embedded, self.learner)

    def losses(self, batch: EmbeddedEpisode) -> Float[Tensor, " M"]:
        """The learner's loss on each of M tasks at once."""
        return over_tasks(self.learner.loss, self._read(batch))

    def _read(self, batch: EmbeddedEpisode) -> EmbeddedEpisode:
        """Without padding that can be spared: features where the encoder stands still, else trimmed token states."""
        given = [batch.support, batch.query, *(() if batch.names is None else (batch.names,))]
        parts = [part for part in given if isinstance(part, TokenStates)]
        if len(parts) < len(given):  # features already
            return batch
        if self.learner.needs_tokens:
            read: list[Any] = [_trimmed(part) for part in parts]
        else:
            joined = TokenStates(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))
            features = self._features_by_length(TokenStates(*(tensor.flatten(0, 1) for tensor in joined)))
            counts = [part.mask.shape[1] for part in parts]
            read = list(features.unflatten(0, joined.mask.shape[:2]).split(counts, dim=1))
        support, query, names = (*read, None)[:3]
        return batch._replace(support=support, query=query, names=names)

    def _features_by_length(self, texts: TokenStates) -> Float[Tensor, "B D"]:
        lengths = texts.mask.sum(-1).tolist()
        order: list[int] = []
        found = []
        for rows in by_length(lengths, ENCODER_FACTOR):
            at = torch.tensor(rows, device=texts.mask.device)
            longest = lengths[rows[0]]
            found.append(self.learner.features(TokenStates(*(x[:, :longest].index_select(0, at) for x in texts))))
            order += rows
        back = torch.tensor(order, device=texts.mask.device).argsort()
        return torch.cat(found).index_select(0, back)

    @torch.no_grad()
    def logits(self, batch: EmbeddedEpisode) -> Float[Tensor, "M Q N"]:
        """Scores for the queries of M tasks, each after adapting to its support."""

        def answer(episode: EmbeddedEpisode) -> Tensor:
            task = self.learner.adapt(episode.support, episode.support_labels, episode.n_way, episode.names)
            return self.learner.logits(task, episode.query)

        return over_tasks(answer, self._read(batch))

    @torch.no_grad()
    def likeness(self, batch: EmbeddedEpisode) -> Float[Tensor, "M Q"]:
        """How like its nearest class each query of M tasks is (see Learner.likeness)."""

        def answer(episode: EmbeddedEpisode) -> Tensor:
            features = self.learner.features(episode.support)
            prototypes = self.learner.prototypes(features, episode.support_labels, episode.n_way, episode.names)
            return self.learner.likeness(prototypes, episode.query)

        return over_tasks(answer, self._read(batch))

    def predict(self, batch: EmbeddedEpisode, temperature: float = 1.0) -> Float[Tensor, "M Q N"]:
        """Class probabilities for the queries of M tasks, each after adapting to its support."""
        return (self.logits(batch) / temperature).softmax(-1)


def _trimmed(texts: TokenStates) -> TokenStates:
    longest = int(texts.mask.sum(-1).max()) if texts.mask.numel() else 0
    return TokenStates(texts.states[..., :longest, :], texts.mask[..., :longest])


def over_tasks(function: Callable[[EmbeddedEpisode], Tensor], batch: EmbeddedEpisode) -> Tensor:
    """vmap a function of one task over the leading axis of a batch; n_way stays a plain number."""

    stacked = [part for part in batch if isinstance(part, TokenStates | Tensor)]

    def one(*parts: TokenStates | Tensor) -> Tensor:
        given = iter(parts)
        parts_or_numbers: Any = (next(given) if isinstance(p, TokenStates | Tensor) else p for p in batch)
        return function(EmbeddedEpisode(*parts_or_numbers))

    # what a learner draws at random is the same for all tasks
    result: Tensor = torch.vmap(one, randomness="same")(*stacked)
    return result


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
    wanted, shape = recipe.learner, recipe.encoder
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
            has = ", ".join(name for name in accepted if name not in ("encoder", "n_classes")) or "none"
            raise ConfigError(f"learner '{wanted.name}' has no option '{key}' (it has: {has}); leave it out")
    if "n_classes" in accepted:
        given["n_classes"] = n_classes
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        encoder = MetaLSTM(embedding.width, shape.hidden, shape.cell, shape.bidirectional, shape.pooling)
        learner = kind(encoder, **given)
    return MetaModel(embedding, learner, recipe)


def check_learners(recipe: Recipe, names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is no learner, or options that a recipe cannot give it, before any training."""
    for name in names:
        if name not in LEARNERS and name != "auto":
            raise _no_learner(name)
        recipe.with_learner(name)


def _no_learner(name: str) -> ConfigError:
    return ConfigError(f"no learner '{name}'; there are {', '.join(LEARNERS)} and auto")


def open_split(recipe: Recipe, corpus: Corpus) -> ClassSplit:
    """The class split a recipe asks for: a file, listed domains, class_splits/N.json, a field, or a seed."""
    wanted = recipe.corpus
    if isinstance(wanted.split, str):
        return ClassSplit.from_file(wanted.split).check(corpus)
    if wanted.split_field is not None:
        return ClassSplit.by_field(corpus, wanted.split_field, wanted.split)
    for key in ("domains", str(wanted.split)):
        if key in corpus.class_splits:
            return corpus.class_splits[key].check(corpus)
    if corpus.class_splits:
        raise ConfigError(
            f"corpus '{corpus.name}' has no class split {wanted.split}; there are {', '.join(corpus.class_splits)}"
        )
    return ClassSplit.by_seed(corpus, wanted.split)
