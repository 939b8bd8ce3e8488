"""A linear head for each label of a task where a text may have several, and how probable its answers are.

Ridge regression onto 0 and 1 has a closed form, and so has its answer to a text that was left out (PRESS: Allen,
Technometrics 1974). These answers say how a score becomes a probability (Platt, 1999).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def ridge_head(
    features: Float[Tensor, "S D"],
    targets: Float[Tensor, "S N"],
    ridge: float,
    weights: Float[Tensor, " S"] | None = None,
) -> tuple[Float[Tensor, "N D1"], Float[Tensor, "S N"]]:
    """Rows of weights with a bias behind them; and what each text would be answered if it were left out.

    weights: how many texts each one counts as; None: each as one. Solved over texts or over features, whichever are fewer.
    """
    x_SD1 = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
    root_S1 = torch.ones_like(x_SD1[:, :1]) if weights is None else weights.double().sqrt()[:, None]
    x_SD1, target_SN = root_S1 * x_SD1, root_S1 * targets.double()
    if len(x_SD1) <= x_SD1.shape[1]:
        inverse_SS = _inverse(x_SD1 @ x_SD1.T, ridge)
        dual_SN = inverse_SS @ target_SN
        left_out_SN = target_SN - dual_SN / inverse_SS.diagonal()[:, None]
        return (x_SD1.T @ dual_SN).T, left_out_SN / root_S1
    inverse_DD = _inverse(x_SD1.T @ x_SD1, ridge)
    head_DN = inverse_DD @ (x_SD1.T @ target_SN)
    own_S1 = ((x_SD1 @ inverse_DD) * x_SD1).sum(1, keepdim=True)
    left_out_SN = (x_SD1 @ head_DN - own_S1 * target_SN) / (1 - own_S1)
    return head_DN.T, left_out_SN / root_S1


def _inverse(gram: Float[Tensor, "W W"], ridge: float) -> Float[Tensor, "W W"]:
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(gram + ridge * torch.eye(len(gram)).to(gram)))
    return inverse
