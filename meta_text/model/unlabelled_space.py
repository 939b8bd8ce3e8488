"""Where texts without any label lie: the space of a task of which nothing is known yet."""

import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.model.mixture import Prior, Space, inverse_document_frequency, is_read, mean_of_means

GUESSED_WAY = 10  # classes of a task of which nothing is known yet


@torch.no_grad()
def unlabelled_space(vectors: Float[Tensor, "S D"], blocks: EncoderBlocks, prior: Prior) -> Space:
    """A space for texts without labels: around their own mean, with the weights of a task of GUESSED_WAY classes."""
    scale_D = inverse_document_frequency(vectors, blocks.is_counts.to(vectors.device))
    scaled, labels = vectors * scale_D, torch.zeros(len(vectors), dtype=torch.long, device=vectors.device)
    parts = scaled.split(list(blocks.widths), dim=-1)
    centre_D = torch.cat([mean_of_means(part, labels, 1, torch.ones_like(part[:, 0])) for part in parts])
    read_B = torch.stack([is_read(part).double().mean() for part in parts])
    weights_B = prior.of(blocks.names, GUESSED_WAY, 1.0, read_B).to(vectors)
    return Space(
        blocks.widths, weights_B, scale_D, centre_D, torch.zeros(2, dtype=vectors.dtype, device=vectors.device)
    )
