"""A model adapted to labels of which a text may have none, one or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.errors import ConfigError
from meta_text.learners.learner import TaskState
from meta_text.model.label_heads import fit_heads, learn_heads
from meta_text.model.label_pool import MOST_POOL
from meta_text.model.label_ridge import RidgePath
from meta_text.model.label_space import centre_shares, fit_label_space
from meta_text.model.mixture import Space
from meta_text.model.model import MetaModel
from meta_text.model.task import Label, pack
from meta_text.model.unlabelled import pool_of


@dataclass(frozen=True)
class Labelled:
    """Texts, each once and sorted, with the labels that each has; one name per label, if names are used."""

    labels: tuple[Label, ...]
    texts: tuple[str, ...]
    has: Bool[np.ndarray, "S N"]
    names: tuple[str, ...] | None = None
    pool: tuple[str, ...] = ()  # unlabelled texts, each once, none of them labelled

    def among(self, unlabelled: Sequence[str]) -> "Labelled":
        """The same with those of the unlabelled texts that are to be read."""
        return replace(self, pool=pool_of(unlabelled, {"": self.texts})[:MOST_POOL])

    @property
    def counts(self) -> list[int]:
        """How many texts each label has."""
        return [int(count) for count in self.has.sum(0)]


@dataclass(frozen=True)
class LabelAdaptation:
    """Labels in column order with their texts, and what was learned from them.

    task: `Space.state`, "hits" (see `weigh_by_labels`), per label a row of "head", whose sigmoid is the probability, and its
    "thresholds"; and in "unlabelled" how many such texts there were.
    """

    model: MetaModel
    given: Labelled  # no texts, if they were not saved
    task: TaskState
    n_texts: int  # that were learned, also where they were not saved
    features: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # of texts and names, and of the pool where it was read
    cut: frozenset[str] = frozenset()  # texts too long to be read whole
    unread: frozenset[str] = frozenset()  # texts in a script that no encoder knows

    @classmethod
    @own_settings()
    def learn(
        cls,
        model: MetaModel,
        given: Labelled,
        before: "LabelAdaptation | None" = None,
        progress: Progress | None = None,
    ) -> "LabelAdaptation":
        """Adapt to these labels; texts that the same model read for `before` are not read again.

        Raises ConfigError for a model that reads token states.
        """
        blocks = model.embedding
        if not isinstance(blocks, EncoderBlocks):
            raise ConfigError(
                f"several labels a text need a model over sentence encoders, and this one reads token states of '{blocks.model}'; "
                "use model='default', or a model that the recipe 'mixture' trains"
            )
        bare = cls(model, given, {}, len(given.texts))
        if before is not None and before.model is model:
            bare = replace(bare, features=before.features, cut=before.cut, unread=before.unread)
        read = bare.with_features(progress, given.pool)
        vectors_SD, names_MD = read._stacked(given.texts), read._stacked(given.names or ())
        has_SN = torch.from_numpy(given.has).to(vectors_SD.device)
        space, hits = fit_label_space(vectors_SD, has_SN, blocks, model.prior, names_MD)
        heads = learn_heads(read._ridges(space), space(read._stacked(given.pool)))
        if given.pool:
            heads["unlabelled"] = torch.tensor(len(given.pool), dtype=torch.float32)
        return replace(read, task={**space.state, "hits": hits, **heads})

    @own_settings()
    def with_features(self, progress: Progress | None = None, more: Sequence[str] = ()) -> "LabelAdaptation":
        """The same with the features of its texts and names, of `more`, and of no others."""
        needed = dict.fromkeys((*self.given.texts, *(self.given.names or ()), *more))
        new = [text for text in needed if text not in self.features]
        parts, is_cut, is_unread = self.model.represent(new, progress)
        features = {**self.features, **dict(zip(new, parts, strict=True))}
        return replace(
            self,
            features={text: features[text] for text in needed},
            cut=frozenset({*self.cut, *compress(new, is_cut)} & needed.keys()),
            unread=frozenset({*self.unread, *compress(new, is_unread)} & needed.keys()),
        )

    def represent(self, texts: Sequence[str]) -> Represented:
        """Texts as `probabilities` reads them; an encoder that has no weight in this task is not run."""
        return self.model.represent(texts, used=[weight > 0 for weight in self.task["weights"].tolist()])

    @own_settings()
    @torch.no_grad()
    def probabilities(self, parts: Sequence[Tensor]) -> Float[np.ndarray, "Q N"]:
        """How probable each label is for each represented text, whatever its other labels."""
        if not parts:
            return np.zeros((0, len(self.given.labels)))
        features_QD = self.model.in_space(self.task, pack(parts, self.model.embedding.device))
        assert isinstance(features_QD, Tensor)
        head_ND1 = self.task["head"].double()
        logits_QN = features_QD.double() @ head_ND1[:, :-1].T + head_ND1[:, -1]
        return np.asarray(logits_QN.sigmoid().cpu().numpy())

    @property
    def n_unlabelled(self) -> int:
        """How many texts without labels it was learned from."""
        return int(self.task.get("unlabelled", torch.zeros(())))

    @property
    def lacks_texts(self) -> bool:
        """Whether the texts that it was learned from were not saved."""
        return self.n_texts > len(self.given.texts)

    @property
    def thresholds(self) -> Float[np.ndarray, " N"]:
        """The probability from which a text is answered to have each label."""
        return np.asarray(self.task["thresholds"].double().cpu().numpy())

    @own_settings()
    @torch.no_grad()
    def left_out(self) -> Float[np.ndarray, "S N"]:
        """How probable each label is for each labelled text if that text is left out."""
        return fit_heads(self._ridges(Space.of(self.blocks.widths, self.task))).probabilities

    @property
    def blocks(self) -> EncoderBlocks:
        """The encoders that read the texts."""
        assert isinstance(self.model.embedding, EncoderBlocks)
        return self.model.embedding

    @torch.no_grad()
    def _ridges(self, space: Space) -> RidgePath:
        """What the heads are learned from in this space."""
        features_SD, names = space(self._stacked(self.given.texts)), self.given.names or ()
        has_SN = torch.from_numpy(self.given.has).to(features_SD.device)
        shares_S = centre_shares(has_SN, len(names), space.weights, self.blocks.names, self.model.prior)
        return RidgePath.of(features_SD, has_SN, space(self._stacked(names)), self.model.learner.name_weight, shares_S)

    def _stacked(self, texts: Sequence[str]) -> Float[Tensor, "_ D"]:
        if not texts:
            return torch.zeros(0, self.blocks.width, dtype=torch.float32, device=self.blocks.device)
        vectors = pack([self.features[text] for text in texts], self.blocks.device)
        assert isinstance(vectors, Tensor)
        return vectors
