"""The features of a task where a text may have several labels: encoders weighed by what left-out texts say of their labels.

As `model.mixture` does it, except for the likelihood: each label of a text competes with those that the text lacks, so
labels that come together do not compete. Where every text has one label, both are the same.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.model.mixture import (
    CENTRE_TEXTS,
    LEAST_WEIGHT,
    MOST_TEXTS,
    SCALES,
    Prior,
    Space,
    centred_blocks,
    drawn_centre,
    inverse_document_frequency,
    is_read,
    left_out_answers,
    mean_of_means,
    texts_of_mean,
    weight_grid,
)

MOST_SHARE = 0.99  # of a centre: without a text that is all of it, there is none


@torch.no_grad()
def fit_label_space(
    vectors: Float[Tensor, "S D"],
    has: Bool[Tensor, "S N"],
    blocks: EncoderBlocks,
    prior: Prior,
    names: Float[Tensor, "_ D"],
) -> tuple[Space, Float[Tensor, " B2"]]:
    """The space of a task, and `first_ones` in it.

    has: which labels each text has. names: one text per label, or none; they count as texts where no label has two of its own.
    """
    if names_count(has, len(names)):
        vectors, has = torch.cat([vectors, names]), torch.cat([has, torch.eye(has.shape[1]).to(has)])
    n_labels, count_N = has.shape[1], has.float().sum(0)
    scale_D = inverse_document_frequency(vectors, blocks.is_counts.to(vectors.device))
    vectors = vectors * scale_D
    parts = vectors.split(list(blocks.widths), dim=-1)
    row_P, label_P = has.nonzero(as_tuple=True)  # a text counts once for each of its labels
    middles = [mean_of_means(part[row_P], label_P, n_labels, torch.ones_like(part[row_P, 0])) for part in parts]
    pairs = zip(middles, blocks.names, strict=True)
    centre_D = torch.cat([drawn_centre(middle, prior.centres.get(name), count_N) for middle, name in pairs])
    read_B = torch.stack([is_read(part).double().mean() for part in parts])
    before_B = prior.of(blocks.names, max(1, n_labels), max(1.0, float(count_N.mean())), read_B)
    parts = centred_blocks(vectors, centre_D, blocks.widths)
    weights_B, hits = weigh_by_labels(parts, has, before_B, prior.texts)
    nothing = torch.zeros(2).to(vectors)
    return Space(blocks.widths, weights_B.to(vectors), scale_D, centre_D, nothing), hits.to(vectors)


def names_count(has: Bool[Tensor, "S N"], n_names: int) -> bool:
    """Whether names count as texts: where no label has two of its own."""
    return n_names > 0 and int(has.sum(0).max()) < 2


def centre_shares(
    has: Bool[Tensor, "S N"], n_names: int, weights: Float[Tensor, " B"], names: Sequence[str], prior: Prior
) -> Float[Tensor, " S"]:
    """How much of the centre of `fit_label_space` each text is, in the mean over encoders of these weights and names."""
    count_N = has.float().sum(0) + int(names_count(has, n_names))
    among_S = (has / count_N.clamp(min=1)).sum(1) / max(1, int((count_N > 0).sum()))
    texts = texts_of_mean(count_N)
    drawn_B = [texts / (texts + CENTRE_TEXTS) if name in prior.centres else 1.0 for name in names]
    shares_S = among_S * float(weights @ torch.tensor(drawn_B).to(weights))
    return shares_S.clamp(max=MOST_SHARE)


def weigh_by_labels(
    blocks: Sequence[Float[Tensor, "S _"]], has: Bool[Tensor, "S N"], prior: Float[Tensor, " B"], prior_texts: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B2"]]:
    """Weights that sum to 1: the mean of the grid under the posterior, shrunk to the prior by n / (n + prior_texts).

    Beside them, how many of n texts have their likeliest label right when they are left out: n, with these weights, and
    with each encoder alone.
    """
    if len(has) > MOST_TEXTS:
        kept = torch.linspace(0, len(has) - 1, MOST_TEXTS, device=has.device).long()
        blocks, has = [block[kept] for block in blocks], has[kept]
    counted_SN = can_be_left_out(has)
    n_texts = int(counted_SN.any(1).sum())
    if n_texts == 0:
        return prior, torch.zeros(2 + len(blocks), dtype=torch.float64)
    kernels_BSS = torch.stack([block.double() @ block.double().T for block in blocks])
    grid_GB = weight_grid(len(blocks)).to(kernels_BSS)
    likelihood_G = torch.stack(
        [best_likelihood((row_B[:, None, None] * kernels_BSS).sum(0), has, counted_SN)[0] for row_B in grid_GB]
    )
    share = n_texts / (n_texts + prior_texts)
    mixed_B = share * (likelihood_G.softmax(0) @ grid_GB) + (1 - share) * prior.to(kernels_BSS)
    mixed_B = torch.where(mixed_B < LEAST_WEIGHT, 0.0, mixed_B)
    mixed_B = mixed_B / mixed_B.sum()
    hits = [float(n_texts)]
    for kernel_SS in ((mixed_B[:, None, None] * kernels_BSS).sum(0), *kernels_BSS):
        answers_SN = best_likelihood(kernel_SS, has, counted_SN)[1]
        is_right_S = has.gather(1, answers_SN.argmax(1, keepdim=True))[:, 0]
        hits.append(float(is_right_S[counted_SN.any(1)].sum()))
    return mixed_B, torch.tensor(hits, dtype=torch.float64)


def can_be_left_out(has: Bool[Tensor, "S N"]) -> Bool[Tensor, "S N"]:
    """Labels of texts that keep another text; none if there is a single such label, which tells nothing apart."""
    several_N = has.sum(0) > 1
    return has & several_N & (several_N.sum() > 1)


def best_likelihood(
    kernel: Float[Tensor, "S S"], has: Bool[Tensor, "S N"], counted: Bool[Tensor, "S N"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "S N"]]:
    """The best summed log-likelihood, over RIDGES and SCALES, of each text's labels when it is left out; and those answers.

    Of a text with several labels, the mean over these; each one's is its logit's softmax among the labels that it lacks.
    """
    answers_RSN = left_out_answers(kernel, has.to(kernel))
    scales_C111 = torch.tensor(SCALES, dtype=kernel.dtype, device=kernel.device)[:, None, None, None]
    logits_CRSN = scales_C111 * answers_RSN
    others_CRS1 = logits_CRSN.masked_fill(has, -torch.inf).logsumexp(-1, keepdim=True)
    own_CRSN = (logits_CRSN - torch.logaddexp(logits_CRSN, others_CRS1)) * counted
    total_CR = (own_CRSN.sum(-1) / counted.sum(-1).clamp(min=1)).sum(-1)
    best = int(total_CR.argmax())
    return total_CR.flatten()[best], answers_RSN[best % len(answers_RSN)]
