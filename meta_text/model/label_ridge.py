"""Ridge regression onto the labels of texts, for any ridge, and what it says of a text that was left out.

One eigendecomposition serves every ridge, and answers to left-out texts have a closed form (PRESS: Allen, Technometrics
1974; over a grid: Golub, Heath & Wahba, Technometrics 1979). There is no bias: scores are sums of likenesses to labelled
texts, and `label_calibration` adds what is missing to log-odds.

A text that is left out must leave the centre of the space, too. Around a centre that holds it, all others together are
unlike it, and every score is lower than a text that is asked would get. Without it the centre is further from it by a
`share` / (1 - share) of its own vector, so as much of this vector is added to all others: a change of rank two.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class RidgePath:
    """Labelled texts, then names, with what a ridge needs to be solved."""

    rows: Float[Tensor, "R D"]  # times the roots of what they count as
    targets: Float[Tensor, "R N1"]  # labels, and 1 for each row, both times these roots
    has: Bool[Tensor, "S N"]
    is_named: bool
    shares: Float[Tensor, " S"]  # of each text in the centre of the space
    values: Float[Tensor, " W"]
    basis: Float[Tensor, "R W"]  # eigenvectors of rows @ rows.T; or rows @ those of rows.T @ rows, if these are fewer

    @classmethod
    def of(
        cls,
        features: Float[Tensor, "S D"],
        has: Bool[Tensor, "S N"],
        names: Float[Tensor, "_ D"],
        name_weight: float,
        shares: Float[Tensor, " S"],
    ) -> "RidgePath":
        """names: one text per label, which counts as name_weight texts, or none."""
        n_texts, n_labels = has.shape
        rows_RD, target_RN = torch.cat([features, names]).double(), has.double()
        root_R1 = torch.ones_like(rows_RD[:, :1])
        if len(names):
            target_RN = torch.cat([target_RN, torch.eye(n_labels).to(target_RN)])
            root_R1[n_texts:] = name_weight**0.5
        rows_RD, target_RN1 = root_R1 * rows_RD, root_R1 * torch.cat([target_RN, torch.ones_like(root_R1)], dim=1)
        if len(rows_RD) <= rows_RD.shape[1]:
            values_W, basis_RW = torch.linalg.eigh(rows_RD @ rows_RD.T)
        else:
            values_W, vectors_DW = torch.linalg.eigh(rows_RD.T @ rows_RD)
            basis_RW = rows_RD @ vectors_DW
        return cls(rows_RD, target_RN1, has, len(names) > 0, shares.double(), values_W, basis_RW)

    def weights(self, ridge: float) -> Float[Tensor, "N D"]:
        """Per label those with the least squared error plus `ridge` times their squares."""
        dual_RN1, _ = self._solved(ridge)
        return (self.rows.T @ dual_RN1[:, :-1]).T

    def weights_beside(
        self, features: Float[Tensor, "P D"], targets: Float[Tensor, "P N"], weight: float, ridge: float
    ) -> Float[Tensor, "N D"]:
        """The same with further texts, each of which counts as `weight` of one, and whose targets may lie between 0 and 1."""
        rows = torch.cat([self.rows, weight**0.5 * features])
        wanted = torch.cat([self.targets[:, :-1], weight**0.5 * targets])
        if len(rows) <= rows.shape[1]:
            dual_RN: Tensor = torch.linalg.solve(_plus(rows @ rows.T, ridge), wanted)
            return (rows.T @ dual_RN).T
        weights_DN: Tensor = torch.linalg.solve(_plus(rows.T @ rows, ridge), rows.T @ wanted)
        return weights_DN.T

    @property
    def texts(self) -> Float[Tensor, "S D"]:
        """The features of the labelled texts."""
        return self.rows[: len(self.has)]

    def left_out(self, ridge: float) -> Float[Tensor, "S N"]:
        """The scores of each text by the weights and around the centre of all others."""
        n_texts = len(self.has)
        dual_RN1, own_R = self._solved(ridge)
        root_R1, own_S1, square_S1 = (
            self.targets[:, -1:],
            own_R[:n_texts, None],
            self.rows[:n_texts].square().sum(1, keepdim=True),
        )
        dual_SN1 = dual_RN1[:n_texts]
        # by the others' inverse kernel: from the text to labels and to ones; and from ones to labels and to ones
        text_SN1 = self.targets[:n_texts] - dual_SN1 / own_S1
        ones_SN1 = (root_R1 * dual_RN1).sum(0) - dual_SN1 * dual_SN1[:, -1:] / own_S1
        text_text_S1 = square_S1 + ridge - 1 / own_S1
        text_ones_S1, ones_ones_S1 = text_SN1[:, -1:], ones_SN1[:, -1:]
        more_S1 = (self.shares / (1 - self.shares))[:, None]
        much_S1 = more_S1 * square_S1
        # (1, much) @ inverse([[1 + a, b], [c, 1 + d]]) @ (text, ones)
        a_S1, b_S1 = more_S1 * text_ones_S1, more_S1 * (text_text_S1 + much_S1 * text_ones_S1)
        c_S1, d_S1 = more_S1 * ones_ones_S1, more_S1 * (text_ones_S1 + much_S1 * ones_ones_S1)
        of_text_S1, of_ones_S1 = 1 + d_S1 - much_S1 * c_S1, much_S1 * (1 + a_S1) - b_S1
        left_out_SN1 = (of_text_S1 * text_SN1 + of_ones_S1 * ones_SN1) / ((1 + a_S1) * (1 + d_S1) - b_S1 * c_S1)
        return left_out_SN1[:, :-1]

    def _solved(self, ridge: float) -> tuple[Float[Tensor, "R N1"], Float[Tensor, " R"]]:
        """inverse(rows @ rows.T + ridge) @ targets, and the diagonal of that inverse."""
        gain_W = 1 / (self.values + ridge)
        solved_RN1 = self.basis @ (gain_W[:, None] * (self.basis.T @ self.targets))
        own_R = self.basis.square() @ gain_W
        if len(self.rows) <= self.rows.shape[1]:
            return solved_RN1, own_R
        return (self.targets - solved_RN1) / ridge, (1 - own_R) / ridge


def _plus(square: Float[Tensor, "W W"], ridge: float) -> Float[Tensor, "W W"]:
    """A square matrix with `ridge` added along its diagonal."""
    square.diagonal().add_(ridge)
    return square
