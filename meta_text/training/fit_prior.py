"""Learning which weights encoders have before a label is seen, from episodes of many corpora and shapes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.corpus.episode import Episode
from meta_text.learners.learner import membership
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.mixture import (
    Prior,
    at_most,
    can_be_left_out,
    centred_blocks,
    fit_space,
    is_read,
    log_share,
    mean_weights,
    prior_terms,
    weight_grid,
)
from meta_text.training.shapes import by_origin, shapes

RIDGE, STEPS = 0.3, 10  # of the kernel ridge regression that judges weights; the grid of weights that it is asked at
# In accuracy lost per squared unit of the prior's logits, and of the logarithm of how many texts it counts for. Without
# it nine corpora leave that number anywhere between 4 and 700; what is lost on a corpus left out hardly depends on it
DECAY = 3e-4
MOST_WAYS = 50  # more classes take minutes and say the same


@dataclass(frozen=True)
class Case:
    """What one episode says of the weights."""

    corpus: str
    terms: Float[Tensor, " 3"]
    texts: int  # that can be left out
    read: Float[Tensor, " B"]  # share of texts that each encoder can read
    mean: Float[Tensor, " B"]  # what the support set says
    lost: Float[Tensor, " F"]  # coefficients of `weight_features`: the accuracy lost against the best weights


def fit_prior(embedded: EmbeddedCorpus, class_names: Sequence[str], episodes: int = 20) -> Prior:
    """The prior whose weights, mixed with what support sets say, lose the least accuracy on queries.

    Every corpus counts the same, and so does every shape within it.
    """
    centres = mean_centres(corpus_centres(embedded, class_names))
    cases = cases_of(embedded, class_names, Prior(centres=centres), episodes)
    return replace(prior_of(cases, embedded.blocks.names), centres=centres)


def corpus_centres(embedded: EmbeddedCorpus, class_names: Sequence[str]) -> dict[str, dict[str, Float[Tensor, " W"]]]:
    """For each corpus, each encoder's mean vector over the texts that it can read; encoders that count have none."""
    blocks, found = embedded.blocks, dict[str, dict[str, Tensor]]()
    for origin, names in by_origin(embedded.corpus, class_names).items():
        rows = [row for name in names for row in embedded.corpus.rows_of(name)]
        parts = embedded.vectors(rows).split(list(blocks.widths), dim=1)
        readers = [
            (e.name, part[is_read(part)]) for e, part in zip(blocks.encoders, parts, strict=True) if not e.is_counts
        ]
        found[origin] = {name: read.mean(0).cpu() for name, read in readers if len(read)}
    return found


def mean_centres(corpora: Mapping[str, Mapping[str, Tensor]]) -> dict[str, tuple[float, ...]]:
    """The mean over corpora of each encoder's mean vector."""
    names = {name for centres in corpora.values() for name in centres}
    means = {name: torch.stack([c[name] for c in corpora.values() if name in c]).mean(0) for name in sorted(names)}
    return {name: tuple(round(number, 5) for number in mean.tolist()) for name, mean in means.items()}


def cases_of(
    embedded: EmbeddedCorpus, class_names: Sequence[str], start: Prior, episodes: int = 20
) -> list[list[Case]]:
    """What episodes of every shape say of the weights, by shape; `start` gives the usual centres."""
    return [
        [_case(embedded, shape.corpus, episode, start) for episode in shape.episodes]
        for shape in shapes(embedded.corpus, class_names, episodes)
        if shape.n_way <= MOST_WAYS
    ]


def prior_of(cases: Sequence[Sequence[Case]], names: Sequence[str]) -> Prior:
    """Gradient descent on the prior's logits and on how many texts it counts for."""
    flat = [case for shape in cases for case in shape]
    shapes_of = Counter(shape[0].corpus for shape in cases)
    weight_C = torch.tensor(
        [1 / len(shapes_of) / shapes_of[case.corpus] / len(shape) for shape in cases for case in shape],
        dtype=torch.float64,
    )
    terms_C3, mean_CB = torch.stack([case.terms for case in flat]), torch.stack([case.mean for case in flat])
    texts_C1 = torch.tensor([[float(case.texts)] for case in flat], dtype=torch.float64)
    lost_CF = torch.stack([case.lost for case in flat])
    read_CB = log_share(torch.stack([case.read for case in flat]))
    logits_B3 = torch.zeros(len(names), 3, dtype=torch.float64, requires_grad=True)
    log_texts = torch.tensor(Prior().texts, dtype=torch.float64).log().requires_grad_()
    optimizer = torch.optim.Adam([logits_B3, log_texts], lr=0.03)
    with torch.enable_grad():
        for _ in range(600):
            share_C1 = texts_C1 / (texts_C1 + log_texts.exp())
            mixed_CB = share_C1 * mean_CB + (1 - share_C1) * (terms_C3 @ logits_B3.T + read_CB).softmax(1)
            lost_C = (weight_features(mixed_CB) * lost_CF).sum(1)
            moved = logits_B3.square().sum() + (log_texts - math.log(Prior().texts)).square()
            loss = (weight_C * lost_C).sum() + DECAY * moved
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    rows = (logits_B3 - logits_B3.mean(0)).detach().tolist()
    return Prior({name: tuple(row) for name, row in zip(names, rows, strict=True)}, log_texts.detach().exp().item())


def weight_features(weights: Float[Tensor, "C B"]) -> Float[Tensor, "C F"]:
    """What accuracy is a linear function of, nearly: weights, their roots and their products in pairs."""
    n_blocks = weights.shape[1]
    pairs = [weights[:, i] * weights[:, j] for i in range(n_blocks) for j in range(i)]
    return torch.cat([weights, weights.clamp(min=1e-6).sqrt(), *(pair[:, None] for pair in pairs)], dim=1)


def _case(embedded: EmbeddedCorpus, corpus: str, episode: Episode, start: Prior) -> Case:
    """Kernel ridge regression at every point of a grid of weights, on the episode's queries."""
    labels = torch.tensor(episode.support_labels, device=embedded.device)
    targets = torch.tensor(episode.query_labels, device=embedded.device)
    vectors = embedded.vectors([*episode.support, *episode.query])
    n_support, blocks = len(labels), embedded.blocks
    read_B = torch.stack([is_read(part).double().mean() for part in vectors[:n_support].split(list(blocks.widths), 1)])
    space = fit_space(vectors[:n_support], labels, episode.n_way, blocks, start, vectors[:0])
    parts = [part.double() for part in centred_blocks(vectors * space.scale, space.centre, blocks.widths)]
    kernels_BAS = torch.stack([part @ part[:n_support].T for part in parts])
    counted_S = can_be_left_out(labels, episode.n_way)
    mean_B = torch.zeros(len(parts), dtype=torch.float64)
    if counted_S.any():
        kept, kept_labels = at_most([part[:n_support] for part in parts], labels)
        kept_counted = can_be_left_out(kept_labels, episode.n_way)
        mean_B = mean_weights(torch.stack([p @ p.T for p in kept]), kept_labels, episode.n_way, kept_counted)
    grid_GB = weight_grid(len(parts), STEPS).to(kernels_BAS)
    target_SN = membership(labels, episode.n_way).to(kernels_BAS)
    ridge_SS = RIDGE * torch.eye(n_support, dtype=torch.float64, device=embedded.device)
    right = []
    for weights_B in grid_GB:
        kernel_AS = (weights_B[:, None, None] * kernels_BAS).sum(0) + 1
        answers_QN = kernel_AS[n_support:] @ torch.linalg.solve(kernel_AS[:n_support] + ridge_SS, target_SN)
        right.append((answers_QN.argmax(1) == targets).double().mean())
    right_G = torch.stack(right).cpu()
    lost_F = torch.linalg.lstsq(weight_features(grid_GB.cpu()), (right_G.max() - right_G)[:, None]).solution[:, 0]
    shots = n_support / episode.n_way
    return Case(corpus, prior_terms(episode.n_way, shots), int(counted_S.sum()), read_B.cpu(), mean_B.cpu(), lost_F)
