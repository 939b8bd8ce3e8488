"""Several encoders side by side, each weighted by what a task's own labelled texts say that it is worth.

The vectors of B encoders are blocks of one vector. A task centres each block on its own texts, gives it length 1 and
multiplies it by the root of its weight, so that a linear kernel over all is the weighted sum of the encoders' kernels.
The weights are a Bayesian model average (Hoeting et al., Statistical Science 1999) over a grid, by the leave-one-out
likelihood of kernel ridge regression, which has a closed form (Cawley & Talbot, Neural Networks 2004).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.learners.learner import membership, shots_of

STEPS = 4  # the grid of weights: multiples of a quarter
RIDGES = (0.1, 0.3, 1.0)
SCALES = (4.0, 8.0, 16.0)  # of the ridge's answers, as logits
MOST_TEXTS = 600  # that the choice looks at: beyond, it takes seconds and changes nothing
LEAST_WEIGHT = 0.02  # below which an encoder is not run
Counted = (
    Bool[Tensor, " S"] | Float[Tensor, " S"]
)  # whether, or as how many, each text counts; 0 if it cannot be left out


CENTRE_TEXTS = 50  # labelled texts that `Prior.centres` count for; 5 to 50 differ little where classes are even


@dataclass(frozen=True)
class Prior:
    """Which weight an encoder has before a label is seen: softmax over encoders of w . [1, ln N, ln(1+K)].

    logits: three numbers for each encoder, by its name; one that is not listed has zeros. texts: how many labelled texts
    the prior counts for. centres: each encoder's mean vector over many corpora. `training.fit_prior` learns all three.
    """

    logits: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    texts: float = 30.0
    centres: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def of(
        self, names: Sequence[str], n_way: int, shots: float, read: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, " B"]:
        """read: the share of the task's texts that each encoder can read, which scales its weight."""
        rows = torch.tensor([self.logits.get(name, (0.0, 0.0, 0.0)) for name in names], dtype=torch.float64)
        shares = torch.ones(len(names), dtype=torch.float64) if read is None else read.double().cpu()
        return (rows @ prior_terms(n_way, shots) + log_share(shares)).softmax(0)


def log_share(read: Float[Tensor, "*C B"]) -> Float[Tensor, "*C B"]:
    """The logarithm of shares of texts that can be read, so low for none that a softmax gives nothing."""
    return read.clamp(min=1e-9).log()


def prior_terms(n_way: int, shots: float) -> Float[Tensor, " 3"]:
    """[1, ln N, ln(1+K)]."""
    return torch.tensor([1.0, math.log(n_way), math.log1p(shots)], dtype=torch.float64)


SPACE = ("weights", "scale", "centre", "left_out")  # what a saved task holds of its space


@dataclass(frozen=True)
class Space:
    """The features of one task: blocks of `widths`, times `scale`, less `centre`, of length 1, times the roots of `weights`.

    scale: inverse document frequencies where numbers count n-grams, else 1.
    left_out: how hard the task is, by its own texts: the mean negative log-likelihood of a text that was left out, times
    n / (n + Prior.texts) for n such texts, and that share itself. Both are 0 where no text can be left out.
    """

    widths: tuple[int, ...]
    weights: Float[Tensor, " B"]
    scale: Float[Tensor, " D"]
    centre: Float[Tensor, " D"]
    left_out: Float[Tensor, " 2"]

    def __call__(self, vectors: Float[Tensor, "*Q D"], *, whole: bool = False) -> Float[Tensor, "*Q _"]:
        """Features of texts; blocks without weight are left out, or are zeros with `whole`."""
        blocks = centred_blocks(vectors * self.scale, self.centre, self.widths)
        pairs = zip(self.weights.sqrt(), blocks, strict=True)
        return torch.cat([root * block for root, block in pairs if whole or root > 0], dim=-1)

    @property
    def state(self) -> dict[str, Tensor]:
        """What a saved task holds of it."""
        return {key: getattr(self, key) for key in SPACE}

    @classmethod
    def of(cls, widths: Sequence[int], state: Mapping[str, Tensor]) -> "Space":
        """The space that `state` came from."""
        return cls(tuple(widths), **{key: state[key] for key in SPACE})


def centred_blocks(
    vectors: Float[Tensor, "*Q D"], centre: Float[Tensor, " D"], widths: Sequence[int]
) -> list[Float[Tensor, "*Q _"]]:
    """Each encoder's vectors less the centre, at length 1; zeros for a text that the encoder cannot read."""
    pairs = zip(vectors.split(list(widths), dim=-1), centre.split(list(widths), dim=-1), strict=True)
    return [F.normalize(block - middle, dim=-1) * is_read(block)[..., None] for block, middle in pairs]


def is_read(block: Float[Tensor, "*Q _"]) -> Bool[Tensor, "*Q"]:
    """Which texts an encoder can read: `EncoderBlocks` gives zeros for the others."""
    return (block != 0).any(-1)


@torch.no_grad()
def fit_space(
    vectors: Float[Tensor, "S D"],
    labels: Int[Tensor, " S"],
    n_way: int,
    blocks: EncoderBlocks,
    prior: Prior,
    names: Float[Tensor, "_ D"],
    weights: Float[Tensor, " S"] | None = None,
) -> Space:
    """The space of a task: its weights and `left_out` come from `weigh`, its centre is the mean of its class means.

    A mean of few texts contains what is particular to them, and so does every vector less that mean: next to classes of
    one text, a class of twelve then attracts everything. So the centre is drawn towards that of other corpora.
    names: one text per class, or none. They count as texts where no class has two of its own, for nothing could be left
    out there. weights: as those of `Learner.adapt`.
    """
    shots = max(1.0, shots_of(labels, n_way, weights))
    vectors, labels = _with_names(vectors, labels, n_way, names)
    if weights is None or len(weights) < len(labels):  # with names, no class has two texts to weigh
        weights = torch.ones_like(labels, dtype=torch.float32)
    scale_D = inverse_document_frequency(vectors, blocks.is_counts.to(vectors.device))
    vectors = vectors * scale_D
    parts = vectors.split(list(blocks.widths), dim=-1)
    count_N = membership(labels, n_way, weights).sum(0)
    middles = [mean_of_means(part, labels, n_way, weights) for part in parts]
    pairs = zip(middles, blocks.names, strict=True)
    centre_D = torch.cat([drawn_centre(middle, prior.centres.get(name), count_N) for middle, name in pairs])
    read_B = torch.stack([is_read(part).double().mean() for part in parts])
    before_B = prior.of(blocks.names, n_way, shots, read_B)
    parts = centred_blocks(vectors, centre_D, blocks.widths)
    weights_B, left_out = weigh(parts, labels, n_way, before_B, prior.texts, weights)
    return Space(blocks.widths, weights_B.to(vectors), scale_D, centre_D, left_out.to(vectors))


def mean_of_means(
    block: Float[Tensor, "S W"], labels: Int[Tensor, " S"], n_way: int, weights: Float[Tensor, " S"]
) -> Float[Tensor, " W"]:
    """The mean over classes of the mean of each one's texts, as far as the encoder can read them."""
    member_SN = membership(labels, n_way, weights).to(block.dtype) * is_read(block)[:, None]
    count_N = member_SN.sum(0)
    if not count_N.any():
        return torch.zeros_like(block[0])
    middle: Tensor = ((member_SN.T @ block)[count_N > 0] / count_N[count_N > 0, None]).mean(0)
    return middle


def drawn_centre(
    middle: Float[Tensor, " W"], usual: Sequence[float] | None, count_N: Float[Tensor, " N"]
) -> Float[Tensor, " W"]:
    """A task's centre, drawn towards the usual one as far as its texts are few or uneven."""
    if usual is None:
        return middle
    texts = texts_of_mean(count_N)
    other = torch.tensor(usual, dtype=middle.dtype, device=middle.device)
    return (texts * middle + CENTRE_TEXTS * other) / (texts + CENTRE_TEXTS)


def texts_of_mean(count_N: Float[Tensor, " N"]) -> float:
    """Of how many texts the mean is as exact as the mean of class means: N^2 / sum(1 / K)."""
    return float(len(count_N) ** 2 / (1 / count_N.clamp(min=1).float()).sum())


def inverse_document_frequency(vectors: Float[Tensor, "S D"], is_counts: Tensor) -> Float[Tensor, " D"]:
    """ln((1 + n) / (1 + df)) + 1 for numbers that count something in df of these n texts, 1 for all others."""
    among_D = (vectors != 0).sum(0).float()  # a quotient of whole numbers would take the process's default dtype
    return torch.where(is_counts, ((1 + len(vectors)) / (1 + among_D)).log() + 1, 1.0).to(vectors)


def weigh(
    blocks: Sequence[Float[Tensor, "S _"]],
    labels: Int[Tensor, " S"],
    n_way: int,
    prior: Float[Tensor, " B"],
    prior_texts: float,
    weights: Float[Tensor, " S"] | None = None,
) -> tuple[Float[Tensor, " B"], Float[Tensor, " 2"]]:
    """Weights that sum to 1, and `Space.left_out` at these weights.

    The weights are the mean of the grid under the posterior, shrunk to the prior by n / (n + prior_texts). weights: what
    each text's own likelihood counts as; the ridge learns from all alike.
    """
    own = torch.ones_like(labels, dtype=torch.float32) if weights is None else weights
    (*blocks, weight_S1), labels = at_most([*blocks, own[:, None]], labels)
    counted_S = weight_S1[:, 0] * can_be_left_out(labels, n_way)
    n_texts = float(counted_S.sum())
    if n_texts == 0:
        return prior, torch.zeros(2, dtype=torch.float64)
    kernels_BSS = torch.stack([block.double() @ block.double().T for block in blocks])
    share = n_texts / (n_texts + prior_texts)
    mixed_B = prior.to(kernels_BSS)
    if len(blocks) > 1:
        mixed_B = share * mean_weights(kernels_BSS, labels, n_way, counted_S) + (1 - share) * mixed_B
        mixed_B = torch.where(mixed_B < LEAST_WEIGHT, 0.0, mixed_B)
        mixed_B = mixed_B / mixed_B.sum()
    kernel_SS = (mixed_B[:, None, None] * kernels_BSS).sum(0)
    hardness = -left_out_likelihood(kernel_SS, labels, n_way, counted_S) / n_texts
    return mixed_B, share * torch.stack([hardness, torch.ones_like(hardness)])


def can_be_left_out(labels: Int[Tensor, " S"], n_way: int) -> Bool[Tensor, " S"]:
    """Texts of classes that keep another one; none if that is a single class, which tells nothing apart."""
    count_N = membership(labels, n_way).sum(0)
    several: Tensor = count_N[labels] > 1
    return several & (int((count_N > 1).sum()) > 1)


def mean_weights(
    kernels: Float[Tensor, "B S S"], labels: Int[Tensor, " S"], n_way: int, counted: Counted
) -> Float[Tensor, " B"]:
    """The mean of the grid of weights under the posterior that a uniform prior on the grid has."""
    grid_GB = weight_grid(len(kernels)).to(kernels)
    likelihood_G = torch.stack(
        [
            left_out_likelihood((weights_B[:, None, None] * kernels).sum(0), labels, n_way, counted)
            for weights_B in grid_GB
        ]
    )
    return likelihood_G.softmax(0) @ grid_GB


def weight_grid(n_blocks: int, steps: int = STEPS) -> Float[Tensor, "G B"]:
    """All weights in steps of 1 / `steps` that sum to 1."""
    rows = [row for row in itertools.product(range(steps + 1), repeat=n_blocks) if sum(row) == steps]
    return torch.tensor(rows, dtype=torch.float64) / steps


def left_out_likelihood(
    kernel: Float[Tensor, "S S"], labels: Int[Tensor, " S"], n_way: int, counted: Counted
) -> Float[Tensor, ""]:
    """The best summed log-likelihood, over RIDGES and SCALES, of each counted text's label when the text is left out.

    With H = K (K + r I)^-1 the answer without text i is (H Y - h_ii Y)_i / (1 - h_ii).
    """
    answers_RSN = left_out_answers(kernel, membership(labels, n_way))
    best: Tensor = _likelihoods(answers_RSN, labels, counted).amax()
    return best


def left_out_answers(kernel: Float[Tensor, "S S"], targets: Float[Tensor, "S N"]) -> Float[Tensor, "R S N"]:
    """What ridge regression onto `targets` with each of RIDGES says of each text when that text is left out."""
    values_S, vectors_SS = torch.linalg.eigh(kernel + 1)  # + 1: a bias
    target_SN = targets.to(kernel)
    rotated_SN = vectors_SS.T @ target_SN
    ridges_R1 = torch.tensor(RIDGES, dtype=kernel.dtype, device=kernel.device)[:, None]
    gains_RS = values_S / (values_S + ridges_R1)
    own_RS1 = (gains_RS @ vectors_SS.square().T)[..., None]
    fitted_RSN = vectors_SS @ (gains_RS[..., None] * rotated_SN)
    left_out_RSN: Tensor = (fitted_RSN - own_RS1 * target_SN) / (1 - own_RS1)
    return left_out_RSN


def _likelihoods(answers_RSN: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """The summed log-likelihood of the counted texts at each of SCALES and RIDGES."""
    scales_C111 = torch.tensor(SCALES, dtype=answers_RSN.dtype, device=answers_RSN.device)[:, None, None, None]
    log_p_CRSN = (scales_C111 * answers_RSN).log_softmax(-1)
    own_CRS = log_p_CRSN.gather(-1, labels.expand(*log_p_CRSN.shape[:2], -1)[..., None])[..., 0]
    return (own_CRS * counted)[..., counted > 0].sum(-1)


@torch.no_grad()
def left_out_hits(
    space: Space,
    vectors: Float[Tensor, "S D"],
    labels: Int[Tensor, " S"],
    n_way: int,
    names: Float[Tensor, "_ D"],
) -> Float[Tensor, " B2"]:
    """How many texts can be left out; how many of them get their own label in this space, and with each encoder alone.

    The ridge is the likeliest one, as in `left_out_likelihood`. Names count as texts as in `fit_space`.
    """
    vectors, labels = _with_names(vectors, labels, n_way, names)
    unweighted = replace(space, weights=torch.ones_like(space.weights))(vectors)
    blocks, labels = at_most(unweighted.split(list(space.widths), dim=-1), labels)
    counted_S = can_be_left_out(labels, n_way)
    kernels_BSS = torch.stack([block.double() @ block.double().T for block in blocks])
    mixed_SS = (space.weights.double()[:, None, None] * kernels_BSS).sum(0)
    hits = []
    for kernel_SS in (mixed_SS, *kernels_BSS) if counted_S.any() else ():
        answers_RSN = left_out_answers(kernel_SS, membership(labels, n_way))
        likeliest = int(_likelihoods(answers_RSN, labels, counted_S).amax(0).argmax())
        hits.append(int((answers_RSN[likeliest].argmax(-1) == labels)[counted_S].sum()))
    counts = [int(counted_S.sum()), *hits] if hits else [0] * (2 + len(blocks))
    return torch.tensor(counts, dtype=torch.float32, device=vectors.device)


def _with_names(
    vectors: Tensor, labels: Tensor, n_way: int, names: Tensor
) -> tuple[Float[Tensor, "_ D"], Int[Tensor, " _"]]:
    """Names as texts where no class has two of its own, for nothing could be left out there."""
    if len(names) and int(membership(labels, n_way).sum(0).max()) < 2:
        return torch.cat([vectors, names]), torch.cat([labels, torch.arange(n_way, device=labels.device)])
    return vectors, labels


def at_most(
    blocks: Sequence[Float[Tensor, "S _"]], labels: Int[Tensor, " S"]
) -> tuple[list[Float[Tensor, "_ _"]], Int[Tensor, " _"]]:
    """Evenly spaced texts of every class, MOST_TEXTS in all."""
    if len(labels) <= MOST_TEXTS:
        return list(blocks), labels
    by_class = labels.argsort(stable=True)
    kept = by_class[torch.linspace(0, len(labels) - 1, MOST_TEXTS, device=labels.device).long()]
    return [block[kept] for block in blocks], labels[kept]
