"""Which encoders of a task are asked first, because another one costs more than all of them."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.model.model import MetaModel

MOST_DEAR = 0.6


def cheap_places(embedding: Embedding | EncoderBlocks, weights: Sequence[float] | None) -> list[int] | None:
    """The places of all encoders with weight but the dearest; None where asking them first could save little.

    weights: of a task, or None for encoders that all have one.

    That is where the dearest costs less than the others together, or has more than MOST_DEAR of the weight, so that the
    others are seldom sure; where none of these reads (counting n-grams is not reading); and where a user's own function
    stands among them, whose cost is not known.
    """
    if not isinstance(embedding, EncoderBlocks):
        return None
    used = [place for place in range(len(embedding.encoders)) if weights is None or weights[place] > 0]
    costs = {place: embedding.encoders[place].cost for place in used}
    known = {place: cost for place, cost in costs.items() if cost is not None}
    if len(known) < len(used):
        return None
    dearest = max(used, key=known.__getitem__)
    cheap = [place for place in used if place != dearest]
    reads = any(not embedding.encoders[place].is_counts for place in cheap)
    saves = known[dearest] >= sum(known[place] for place in cheap) and (
        weights is None or weights[dearest] <= MOST_DEAR
    )
    return cheap if reads and saves else None


def cheap_model(model: MetaModel, places: list[int]) -> tuple[MetaModel, Tensor]:
    """The model over these encoders, which its recipe names then, and where their vectors stand in the joined one."""
    blocks = model.embedding
    assert isinstance(blocks, EncoderBlocks)
    few = blocks.subset(places)
    cheap = model.with_encoders(few)
    cheap.recipe = replace(model.recipe, embedding=replace(model.recipe.embedding, encoders=few.sources))
    return cheap, blocks.columns(places)
