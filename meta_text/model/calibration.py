"""Probabilities that mean what they say, and a threshold for "none of these", both learned on held-out classes.

One temperature for every number of classes N and texts a class K: ln T = w . [1, ln N, ln(1+K), ln N ln(1+K)],
fitted to episodes of classes that neither training nor the user has seen (after Guo et al., ICML 2017, who fit
one T on labels of the task itself). The threshold is a quantile of the likeness of texts that do belong to a class.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, batches
from meta_text.learners import EmbeddedEpisode
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)  # false-reject rates whose thresholds are stored
LEAST_SHOTS = 5  # texts a class from which on a task's own texts correct the thresholds
PRIOR_TEXTS = 50  # how many texts the held-out classes count for beside them
NAME_WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # labelled texts that a class name may count for
SEED = 20_011


@dataclass(frozen=True)
class Calibration:
    """Temperature weights and reject thresholds of one model, used either with or without label names."""

    temperature: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    thresholds: tuple[tuple[float, ...], ...] = ()  # for each of RATES, weights of [1, ln N, 1/(1+K), ln(1+K)]
    episodes: int = 0

    def __post_init__(self) -> None:
        if self.thresholds and [len(row) for row in self.thresholds] != [4] * len(RATES):
            raise ValueError(f"{len(RATES)} thresholds of 4 weights each are needed")

    def temperature_at(self, n_way: int, shots: float) -> float:
        """What logits are divided by for a task of n_way classes with `shots` texts each on average."""
        return math.exp(float(np.dot(self.temperature, _shape_terms(n_way, shots))))

    def threshold_at(self, n_way: int, shots: float, rate: float, corrections: Sequence[float] = ()) -> float:
        """The likeness below which a text is "none of these", so that `rate` of the texts that belong are rejected.

        Between the stored rates it is interpolated. Raises ValueError for a model without thresholds or a
        rate outside of those stored.
        """
        check_rate(rate)
        if not self.thresholds:
            raise ValueError(
                "this model has no thresholds for 'none of these'; train it with a validation part, or leave reject out"
            )
        at_rates = np.array(self.thresholds) @ _threshold_terms(n_way, shots)
        return float(np.interp(rate, RATES, at_rates + np.array(corrections) if corrections else at_rates))

    def corrections(self, n_way: int, shots: float, likeness: np.ndarray) -> tuple[float, ...]:
        """What to add to the thresholds at RATES, learned from a task's own texts.

        likeness: of the support texts of one task, each without itself in its prototype. Where categories lie
        closer or further apart than those the thresholds were learned on, theirs differ from what was to be
        expected of shots - 1 texts. Fewer than five shots say too little: no correction then.
        """
        if not self.thresholds or shots < LEAST_SHOTS:
            return ()
        expected = np.array(self.thresholds) @ _threshold_terms(n_way, shots - 1)
        weight = len(likeness) / (len(likeness) + PRIOR_TEXTS)
        return tuple((weight * (np.quantile(likeness, RATES) - expected)).tolist())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any], with_names: bool) -> "Calibration":
        """The part of a model's `calibration` for tasks with or without label names; no change where there is none."""
        values = stored.get("names" if with_names else "plain")
        return cls() if values is None else cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        a, b, c, d = values["temperature"]
        return cls((a, b, c, d), tuple(map(tuple, values["thresholds"])), values["episodes"])


def check_rate(rate: Any) -> None:
    """Raises ValueError for what is no false-reject rate between those whose thresholds are stored."""
    if not isinstance(rate, Real) or not RATES[0] <= float(rate) <= RATES[-1]:
        raise ValueError(f"reject={rate!r}; a false-reject rate from {RATES[0]} to {RATES[-1]} is needed, such as 0.05")


@torch.no_grad()
def calibrate(
    model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], *, label_names: bool, episodes: int = 40
) -> Calibration:
    """Fit temperature and thresholds to episodes of held-out classes, `episodes` for each of several shapes."""
    logits, likeness, labels, shapes = [], [], [], []
    for n_way, k_shot, drawn in _grid(embedded.corpus, class_names, episodes):
        found, wanted = _answers(model.logits, embedded, drawn, label_names)
        likeness.append(_answers(model.likeness, embedded, drawn, label_names)[0].numpy())
        logits.append(found)
        labels.append(wanted)
        shapes.append((n_way, float(k_shot)))
    quantiles_SR = np.array([np.quantile(found, RATES) for found in likeness])
    terms_S4 = np.array([_threshold_terms(n_way, shots) for n_way, shots in shapes])
    weights_4R = np.linalg.lstsq(terms_S4, quantiles_SR, rcond=None)[0]
    thresholds = tuple(tuple(weights.tolist()) for weights in weights_4R.T)
    return Calibration(_fit_temperature(logits, labels, shapes), thresholds, episodes * len(shapes))


def calibrate_model(model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str]) -> dict[str, Any]:
    """What MetaModel.calibration holds: "plain" and, where the learner takes them, "names".

    A name weight that was not meta-trained is chosen here, among a few, by likelihood on the same classes.
    """
    model.eval()
    embedded = model.standing_still(embedded)
    found = {"plain": calibrate(model, embedded, class_names, label_names=False).as_dict()}
    if model.learner.takes_names:
        if not model.learner.log_name_weight.requires_grad:
            _choose_name_weight(model, embedded, class_names)
        found["names"] = calibrate(model, embedded, class_names, label_names=True).as_dict()
    return found


@torch.no_grad()
def _choose_name_weight(model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str]) -> None:
    grid = _grid(embedded.corpus, class_names, episodes=20)
    losses = {}
    for weight in NAME_WEIGHTS:
        model.learner.log_name_weight.fill_(math.log(weight))
        losses[weight] = sum(
            F.cross_entropy(*_answers(model.logits, embedded, drawn, label_names=True), reduction="sum").item()
            for _, _, drawn in grid
        )
    model.learner.log_name_weight.fill_(math.log(min(losses, key=lambda weight: losses[weight])))


def _answers(
    ask: Callable[[EmbeddedEpisode], Tensor], embedded: EmbeddedCorpus, drawn: Sequence[Episode], label_names: bool
) -> tuple[Tensor, Tensor]:
    """What is asked of all queries, and the classes wanted; a batch holds about a hundred classes."""
    found = [
        ask(embedded.batch(batch, label_names=label_names)).flatten(0, 1).cpu()
        for batch in batches(drawn, max(1, 100 // drawn[0].n_way))
    ]
    return torch.cat(found), torch.tensor([y for episode in drawn for y in episode.query_labels])


def _grid(corpus: Corpus, class_names: Sequence[str], episodes: int) -> list[tuple[int, int, list[Episode]]]:
    """Episodes for N in 2, 5, 10, 20, ... up to all classes, and K in 1, 2, 5, 10, as far as the texts go."""
    pools = EpisodeSampler(corpus, class_names, n_way=2, k_shot=1, n_query=1).pools
    most_ways = min(map(len, pools))
    fewest = min(len(corpus.rows_of(name)) for name in class_names)
    ways = sorted({min(n, most_ways) for n in (2, 5, 10, 20, 50, 100)})
    shots = [k for k in (1, 2, 5, 10) if k < fewest] or [1]
    grid = []
    for n_way in ways:
        for k_shot in shots:
            n_query = min(5, fewest - k_shot)
            count = max(4, episodes * 5 // n_way) if n_way > 5 else episodes
            sampler = EpisodeSampler(corpus, class_names, n_way=n_way, k_shot=k_shot, n_query=n_query, seed=SEED)
            grid.append((n_way, k_shot, sampler.take(0, count)))
    return grid


def _fit_temperature(
    logits: Sequence[Tensor], labels: Sequence[Tensor], shapes: Sequence[tuple[int, float]]
) -> tuple[float, float, float, float]:
    """The weights with the least negative log-likelihood, each shape counting the same."""
    terms = [torch.tensor(_shape_terms(n_way, shots), dtype=torch.float64) for n_way, shots in shapes]
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = [
            F.cross_entropy(found.double() / (weights @ term).exp(), wanted)
            for found, wanted, term in zip(logits, labels, terms, strict=True)
        ]
        loss = torch.stack(losses).mean() + 1e-4 * weights.square().sum()  # few shapes do not pin all four
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    a, b, c, d = weights.detach().tolist()
    return a, b, c, d


def _shape_terms(n_way: int, shots: float) -> tuple[float, float, float, float]:
    ways, texts = math.log(n_way), math.log1p(shots)
    return 1.0, ways, texts, ways * texts


def _threshold_terms(n_way: int, shots: float) -> tuple[float, float, float, float]:
    """A prototype's squared length falls as 1/K, so likeness does not follow a logarithm alone."""
    return 1.0, math.log(n_way), 1 / (1 + shots), math.log1p(shots)
