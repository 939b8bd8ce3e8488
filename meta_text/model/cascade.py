"""Answers for texts, the cheap encoders asked first: a dear one reads only texts whose answer it could change.

Where the cheap encoders' probability p of their own answer, at `Adaptation.deciding_temperature`, is at least
`Calibration.sure`, they answer alone; below sure - RAMP, all encoders together do. In between the two answers are mixed, so that what rounding does to p
does nothing more to an answer: a text gets the same one whatever stands beside it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.reading import Represented
from meta_text.model.adaptation import Adaptation
from meta_text.model.mixture import is_read

RAMP = 0.1


def answers_of(adapted: Adaptation, texts: Sequence[str], *, whole: bool) -> tuple[Represented, np.ndarray]:
    """Texts represented, and their probabilities [texts, classes].

    whole: every encoder reads every text, for what is asked beside the answer; the answers are the same.
    """
    first, sure = adapted.first, adapted.calibration.sure
    if first is None or sure is None or not texts:
        read = adapted.represent(texts)
        return read, adapted.probabilities(adapted.score(read.parts))
    cheap = places_in(adapted, first)
    blocks = adapted.model.embedding
    assert isinstance(blocks, EncoderBlocks)
    columns = blocks.columns(cheap)
    read = adapted.represent(texts, cheap)
    scores = first.score([part[columns] for part in read.parts])
    alone = first.probabilities(scores)
    is_unread = unread_by(blocks, cheap, torch.stack(read.parts)).numpy()
    share = share_of(first.probabilities(scores, deciding=True), is_unread, sure)
    rest = [i for i in range(len(texts)) if whole or share[i] < 1]
    dear = adapted.represent([texts[i] for i in rest], [i for i in range(len(blocks.encoders)) if i not in cheap])
    read = joined(read, dear, rest)
    together = adapted.probabilities(adapted.score([read.parts[i] for i in rest]))
    alone[rest] = cascaded(alone[rest], together, share[rest])
    return read, alone


def unread_by(blocks: EncoderBlocks, cheap: Sequence[int], vectors: Float[Tensor, "Q D"]) -> Bool[Tensor, " Q"]:
    """Which texts none of the cheap encoders can read; counting n-grams is not reading."""
    parts = vectors.split(list(blocks.widths), dim=1)
    return ~torch.stack([is_read(parts[i]) for i in cheap if not blocks.encoders[i].is_counts]).any(0)


def cascaded(alone: np.ndarray, together: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Probabilities [Q, N]: the cheap encoders' own for their share of each answer, and those of all encoders."""
    return np.asarray(share[:, None] * alone + (1 - share)[:, None] * together)


def share_of(alone: np.ndarray, is_unread: np.ndarray, sure: float) -> np.ndarray:
    """The cheap encoders' share [Q] of each answer by these probabilities, none where they cannot read."""
    return np.where(is_unread, 0.0, share_alone(torch.from_numpy(alone), sure).numpy())


def share_alone(probabilities: Float[Tensor, "Q N"], sure: float) -> Float[Tensor, " Q"]:
    """How much of each answer is the cheap encoders' own, where they can read the text."""
    return ((probabilities.amax(1) - (sure - RAMP)) / RAMP).clamp(0, 1)


def places_in(adapted: Adaptation, first: Adaptation) -> list[int]:
    """Where the encoders of `first` stand among all."""
    all_blocks, cheap = adapted.model.embedding, first.model.embedding
    assert isinstance(all_blocks, EncoderBlocks) and isinstance(cheap, EncoderBlocks)
    return [place for place, encoder in enumerate(all_blocks.encoders) if encoder in cheap.encoders]


def joined(cheap: Represented, dear: Represented, rest: Sequence[int]) -> Represented:
    """All that was read: the blocks of `dear` added to those of the texts `rest`, where `cheap` has zeros."""
    parts, is_cut, is_unread = list(cheap.parts), list(cheap.is_cut), list(cheap.is_unread)
    for i, part, cut, unread in zip(rest, *dear, strict=True):
        parts[i], is_cut[i], is_unread[i] = parts[i] + part, is_cut[i] or cut, is_unread[i] and unread
    return Represented(parts, is_cut, is_unread)
