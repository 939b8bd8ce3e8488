"""Which texts to label next, before the first label and after any number of them.

A labelled text tells something about the texts that are like it. So the best ones to label are those that leave the pile
as little unlike its labelled texts as possible: facility location (Krause & Golovin, "Submodular Function Maximization",
2014). It finds typical texts first, then different ones, then classes that nothing labelled is like.
"""

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from meta_text.corpus.same_text import fold
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.token_states import masked_mean
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.model import MetaModel
from meta_text.model.task import pack
from meta_text.model.unlabelled_space import unlabelled_space

REFERENCES = 2000  # texts drawn to stand for the pile, so that time and memory grow with its length and not its square
NEAR_COPY = 0.97  # cosine above which two texts are not suggested together: in BANKING77 and CLINC150 a word apart
AT_ONCE = 1024  # texts whose gains are computed together


@dataclass(frozen=True)
class Pile:
    """Texts to choose from, each once and represented; blank ones and copies are not among them.

    places: their positions in the texts that were given.
    """

    texts: Sequence[str]
    places: Sequence[int]
    parts: Sequence[Tensor]

    @classmethod
    def read(
        cls,
        texts: Sequence[str | None],
        represent: Callable[[Sequence[str]], Represented],
        leaving_out: Collection[str] = (),
    ) -> "Pile":
        """Of the texts that are copies of one another the first; none that is a copy of one of `leaving_out`."""
        first: dict[str, int] = {}
        for place, text in enumerate(texts):
            if text is not None:
                first.setdefault(fold(text), place)
        for text in leaving_out:
            first.pop(fold(text), None)
        places = list(first.values())
        kept = [text for place in places if (text := texts[place]) is not None]
        return cls(kept, places, represent(kept).parts if kept else [])


def suggest(
    model: MetaModel, adapted: Adaptation | None, texts: Sequence[str | None], n: int, progress: Progress | None = None
) -> list[int]:
    """Positions of up to n texts most worth labelling, the best first; `adapted` is None before any label.

    Never chosen: None, copies and near copies of those before, and copies of labelled texts. Raises InputError for n < 1.
    """
    if not isinstance(n, Integral) or n < 1:
        raise InputError(f"n={n!r}; the number of texts to suggest must be at least 1, and whole")
    known = [] if adapted is None else [text for given in adapted.support.values() for text in given]
    represent = model.represent if adapted is None else adapted.represent
    pile = Pile.read(texts, lambda kept: represent(kept, progress=progress), known)
    return [pile.places[i] for i in most_worth(pile, int(n), model, adapted)]


@own_settings()
def most_worth(
    pile: Pile, n: int, model: MetaModel, adapted: Adaptation | None, leaving_out: Collection[int] = ()
) -> list[int]:
    """Which n of a pile's texts to label next, by their numbers in it, the best first.

    The gain of a text is the sum, over references drawn from the pile, of what it adds to each one's likeness to its
    nearest labelled text. How unsure the classifier is of them does not count: no weight by that was measurably better.
    """
    if not pile.parts:
        return []
    vectors = _unlabelled(model, pile.parts) if adapted is None else adapted.unit_vectors(pile.parts).float()
    drawn = np.random.default_rng(0).permutation(len(vectors))[:REFERENCES]
    references = vectors[drawn]
    covered = torch.zeros(len(drawn), dtype=torch.float32)
    if adapted is not None and adapted.given.labelled:
        labelled = [adapted.features[text] for text, _ in adapted.given.labelled]
        covered = (adapted.unit_vectors(labelled).float() @ references.T).amax(0).clamp_min(0)
    return _greedy(vectors, references, covered, n, leaving_out)


def _greedy(
    vectors: Float[Tensor, "Q D"],
    references: Float[Tensor, "R D"],
    covered: Float[Tensor, " R"],
    n: int,
    leaving_out: Collection[int],
) -> list[int]:
    """The lazy greedy algorithm (Minoux 1978): gains only fall, so one that is still the largest need not be compared."""
    likeness = vectors @ references.T

    def gains(rows: Float[Tensor, "_ R"]) -> list[float]:
        gained: list[float] = (rows - covered).clamp_min(0).sum(1).tolist()
        return gained

    first = [gain for rows in likeness.split(AT_ONCE) for gain in gains(rows)]
    left = [(-gain, i) for i, gain in enumerate(first) if i not in leaving_out]
    heapq.heapify(left)
    chosen: list[int] = []
    compared: dict[int, int] = {}  # how many were chosen when a text's gain was last computed
    while left and len(chosen) < n:
        _, best = heapq.heappop(left)
        if compared.get(best, 0) < len(chosen):
            compared[best] = len(chosen)
            heapq.heappush(left, (-gains(likeness[best, None])[0], best))
        elif not bool((vectors[chosen] @ vectors[best] > NEAR_COPY).any()):
            chosen.append(best)
            covered = torch.maximum(covered, likeness[best])
    return chosen


def _unlabelled(model: MetaModel, parts: Sequence[Tensor]) -> Float[Tensor, "Q D"]:
    """Texts as vectors of length 1 around their own mean, while no label says what sets classes apart."""
    packed, blocks = pack(parts, model.embedding.device), model.embedding
    if isinstance(blocks, EncoderBlocks) and isinstance(packed, Tensor):
        vectors = unlabelled_space(packed, blocks, model.prior)(packed)
    else:
        means = packed if isinstance(packed, Tensor) else masked_mean(*packed)
        vectors = means - means.mean(0)
    return F.normalize(vectors.detach().float().cpu(), dim=-1)
