"""Fitting a model's calibration on episodes of held-out classes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, batches
from meta_text.learners import EmbeddedEpisode
from meta_text.model.calibration import RATES, Calibration, Calibrations, shape_terms, threshold_terms
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel

NAME_WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # labelled texts that a class name may count as
SEED = 20_011


@torch.no_grad()
def calibrate(
    model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], *, label_names: bool, episodes: int = 40
) -> Calibration:
    """Fit temperature and thresholds to `episodes` episodes of held-out classes in each of several shapes."""
    logits, likeness, labels, shapes = [], [], [], []
    for n_way, k_shot, drawn in _grid(embedded.corpus, class_names, episodes):
        scores, targets = _answers(model.logits, embedded, drawn, label_names)
        likeness.append(_answers(model.likeness, embedded, drawn, label_names)[0].numpy())
        logits.append(scores)
        labels.append(targets)
        shapes.append((n_way, float(k_shot)))
    quantiles_SR = np.array([np.quantile(values, RATES) for values in likeness])
    terms_S4 = np.array([threshold_terms(n_way, shots) for n_way, shots in shapes])
    weights_4R = np.linalg.lstsq(terms_S4, quantiles_SR, rcond=None)[0]
    thresholds = tuple(tuple(weights.tolist()) for weights in weights_4R.T)
    return Calibration(_fit_temperature(logits, labels, shapes), thresholds)


def calibrate_model(model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str]) -> Calibrations:
    """Fit a model's calibrations to held-out classes.

    If the weight of class names was not meta-trained, it is chosen here from a few values, by likelihood on the same
    classes.
    """
    model.eval()
    embedded = model.standing_still(embedded)
    plain = calibrate(model, embedded, class_names, label_names=False)
    if not model.learner.takes_names:
        return Calibrations(plain)
    if not model.learner.log_name_weight.requires_grad:
        _choose_name_weight(model, embedded, class_names)
    return Calibrations(plain, calibrate(model, embedded, class_names, label_names=True))


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
    """The answers to all queries and their true classes. A batch holds about a hundred classes."""
    answers = [
        ask(embedded.batch(batch, label_names=label_names)).flatten(0, 1).cpu()
        for batch in batches(drawn, max(1, 100 // drawn[0].n_way))
    ]
    return torch.cat(answers), torch.tensor([y for episode in drawn for y in episode.query_labels])


def _grid(corpus: Corpus, class_names: Sequence[str], episodes: int) -> list[tuple[int, int, list[Episode]]]:
    """Episodes for N in 2, 5, 10, 20, ... up to all classes and K in 1, 2, 5, 10, as far as there are enough texts."""
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
    """The weights with the least negative log-likelihood; every shape counts the same."""
    terms = [torch.tensor(shape_terms(n_way, shots), dtype=torch.float64) for n_way, shots in shapes]
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = [
            F.cross_entropy(scores.double() / (weights @ term).exp(), targets)
            for scores, targets, term in zip(logits, labels, terms, strict=True)
        ]
        loss = torch.stack(losses).mean() + 1e-4 * weights.square().sum()  # few shapes do not determine all four
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    a, b, c, d = weights.detach().tolist()
    return a, b, c, d
