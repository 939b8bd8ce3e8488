"""Heads with a closed form: ridge regression, and a Bayesian linear head with a learned Gaussian prior."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.learner import Learner, TaskState, Texts, head_logits, membership


class Ridge(Learner):
    """Ridge regression onto one-hot labels (R2D2: Bertinetto et al., ICLR 2019, eq. 4 and 5).

    W = X^T (X X^T + lambda I)^-1 Y on features centred at the mean prototype; lambda and the sharpness of the
    answers are learned. Every class has the same weight, however many texts it has.
    """

    def __init__(self, encoder: TextEncoder, *, label_names: bool = False) -> None:
        super().__init__(encoder, label_names=label_names)
        self.log_ridge = nn.Parameter(torch.zeros(()))

    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        x_SD, y_SN, centre_D = self._design(support, labels, n_way, names, weights)
        gram_SS = x_SD @ x_SD.T + self.log_ridge.exp() * torch.eye(len(x_SD), device=x_SD.device, dtype=x_SD.dtype)
        weight_ND = torch.linalg.solve(gram_SS, y_SN).T @ x_SD
        return {"head": torch.cat([weight_ND, -(weight_ND @ centre_D)[:, None]], dim=-1)}

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self.features(query), self.log_scale.exp())

    def _design(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None,
        weights: Float[Tensor, " S"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Centred features, targets (one-hot minus 1/N), and the centre; rows are scaled by the root of their weight."""
        features_SD = self.features(support)
        names_ND = None if names is None else self.features(names)
        centre_D = self.prototypes(features_SD, labels, n_way, names_ND, weights).mean(0)
        member_SN = membership(labels, n_way).to(features_SD.dtype)
        weight_S = torch.ones_like(features_SD[:, 0]) if weights is None else weights.to(features_SD)
        if names_ND is not None:
            features_SD = torch.cat([features_SD, names_ND])
            member_SN = torch.cat([member_SN, torch.eye(n_way, dtype=member_SN.dtype, device=member_SN.device)])
            weight_S = torch.cat([weight_S, self.log_name_weight.exp().expand(n_way)])
        total_N = member_SN.T @ weight_S
        root_S1 = (weight_S * (member_SN @ (total_N.mean() / total_N))).sqrt()[:, None]
        return root_S1 * (features_SD - centre_D), root_S1 * (member_SN - 1 / n_way), centre_D


class Bayes(Ridge):
    """Bayesian linear regression with a Gaussian prior that training learns: one variance for each feature.

    Posterior N(m_n, Sigma) of each class's row (Bishop, PRML, eq. 3.50 and 3.51) under unit noise variance
    over exp(-log_ridge). The predictive variance x^T Sigma x tempers the answers to texts unlike the support
    (MacKay, 1992, eq. 11), with a learned weight.
    """

    def __init__(self, encoder: TextEncoder, *, label_names: bool = False) -> None:
        super().__init__(encoder, label_names=label_names)
        self.log_prior_variance = nn.Parameter(torch.zeros(encoder.width))
        self.log_tempering = nn.Parameter(torch.zeros(()))

    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        x_SD, y_SN, centre_D = self._design(support, labels, n_way, names, weights)
        variance_D = self.log_prior_variance.exp()
        noise_SS = self.log_ridge.exp() * torch.eye(len(x_SD), device=x_SD.device, dtype=x_SD.dtype)
        spread_SD = x_SD * variance_D
        gain_SD = torch.linalg.solve(x_SD @ spread_SD.T + noise_SS, spread_SD)  # Woodbury: S by S, not D by D
        weight_ND = y_SN.T @ gain_SD
        covariance_DD = torch.diag(variance_D) - spread_SD.T @ gain_SD
        head_ND1 = torch.cat([weight_ND, -(weight_ND @ centre_D)[:, None]], dim=-1)
        return {"head": head_ND1, "covariance": covariance_DD, "centre": centre_D}

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        features_QD = self.features(query)
        mean_QN = head_logits(task["head"], features_QD, self.log_scale.exp())
        centred_QD = features_QD - task["centre"]
        variance_Q1 = ((centred_QD @ task["covariance"]) * centred_QD).sum(-1, keepdim=True).clamp_min(0)
        return mean_QN / (1 + self.log_tempering.exp() * variance_Q1).sqrt()
