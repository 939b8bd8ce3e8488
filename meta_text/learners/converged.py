"""Logistic regression to convergence: where the descent of an update rule would end."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meta_text.learners.learner import membership
from meta_text.learners.uneven import inverse_count

C = 10.0  # of the losses against half the squared weights: the usual choice for vectors of length 1
# Regression fits a class's only text closely and those of a large class on average, so a new text of the small class
# scores too low: four intents with 12, 1, 1 and 1 texts have a recall of .02 on the small classes, with this margin .72, and
# with 12, 3, 3 and 3 texts .57 and .79. In logits for each unit of 1 / K; 4 to 8 differ little on six uneven corpora
MARGIN = 6.0
MOST_STEPS = 200


def converged_head(
    features: Float[Tensor, "S D"],
    labels: Int[Tensor, " S"],
    n_way: int,
    names: Float[Tensor, "N D"] | None = None,
    name_weight: float = 0.0,
    weights: Float[Tensor, " S"] | None = None,
    soft: tuple[Float[Tensor, "P D"], Float[Tensor, "P N"]] | None = None,
) -> Float[Tensor, "N D1"]:
    """Rows [w, b] of multinomial logistic regression in which every class has the same weight.

    The texts of a class with fewer texts than others must win by a margin (Menon et al., ICLR 2021, eq. 10, with 1 / K in
    place of the logarithm of how often a class occurs). names: one more text of each class, which counts as `name_weight`
    texts. weights: as those of `Learner.adapt`. soft: further texts, and how much each counts as a text of each class.
    Solved by L-BFGS in the span of the texts, which holds the solution.
    """
    weight_S = torch.ones_like(features[:, 0]) if weights is None else weights.to(features)
    count_N = membership(labels, n_way, weight_S).sum(0)
    n_texts = float(weight_S.sum())
    inverse_N = inverse_count(count_N, 0.0 if names is None else name_weight)
    if names is not None:
        features, labels = torch.cat([features, names]), torch.cat([labels, torch.arange(n_way, device=labels.device)])
        weight_S = torch.cat([weight_S, weight_S.new_full((n_way,), name_weight)])
        n_texts += n_way
    member_SN = membership(labels, n_way).to(features.dtype)
    weight_S = weight_S * (member_SN @ (1 / (member_SN.T @ weight_S)))  # each class sums to 1
    weight_S = weight_S * n_texts / n_way
    margin_SN = MARGIN * member_SN * (inverse_N - inverse_N.mean())
    target_SN = weight_S[:, None] * member_SN
    if soft is not None:
        features, target_SN = torch.cat([features, soft[0]]), torch.cat([target_SN, soft[1]])
        margin_SN = torch.cat([margin_SN, torch.zeros_like(soft[1])])
    basis_RD = _span(features)
    if basis_RD is None:
        solution_DN, bias_N = _minimum(features, target_SN, margin_SN)
    else:
        solution_RN, bias_N = _minimum(features @ basis_RD.T, target_SN, margin_SN)
        solution_DN = basis_RD.T @ solution_RN
    return torch.cat([solution_DN.T, bias_N[:, None]], dim=1)


def _span(features: Float[Tensor, "S D"]) -> Float[Tensor, "R D"] | None:
    """Orthonormal vectors that span the features; None where these are too many for that to save time."""
    n_texts, width = features.shape
    if 4 * n_texts > width:
        return None
    exact_SD = features.double()
    values_S, vectors_SS = torch.linalg.eigh(exact_SD @ exact_SD.T)
    is_there = values_S > 1e-9 * values_S[-1]
    basis_RD: Tensor = (vectors_SS[:, is_there] / values_S[is_there].sqrt()).T @ exact_SD
    return basis_RD.to(features)


@torch.enable_grad()
def _minimum(
    features: Float[Tensor, "S R"],
    targets: Float[Tensor, "S N"],
    margin: Float[Tensor, "S N"],
) -> tuple[Float[Tensor, "R N"], Float[Tensor, " N"]]:
    """Weights and biases with the least loss; targets: how much each text counts as a text of each class."""
    features = features.detach()
    solution_RN = features.new_zeros(features.shape[1], margin.shape[1]).requires_grad_()
    bias_N = features.new_zeros(margin.shape[1]).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [solution_RN, bias_N],
        max_iter=MOST_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_p_SN = (features @ solution_RN + bias_N - margin).log_softmax(-1)
        loss = (solution_RN.square().sum() / (2 * C) - (targets * log_p_SN).sum()) / len(features)
        loss.backward()
        return loss

    optimizer.step(closure)
    return solution_RN.detach(), bias_N.detach()
