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
from meta_text.model.calibration import RATES, Calibration, Calibrations, temperature_terms, threshold_terms
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel

NAME_WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # labelled texts that a class name may count as
SEED = 20_011


@torch.no_grad()
def calibrate(
    model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], *, label_names: bool, episodes: int = 40
) -> Calibration:
    """Fit temperature and thresholds to `episodes` episodes of held-out classes in each of several shapes."""
    logits, likeness, labels, shapes, terms = [], [], [], [], []
    for n_way, k_shot, drawn in _grid(embedded.corpus, class_names, episodes):
        scores, targets, left_out = _answers(model.logits, embedded, drawn, label_names)
        likeness.append(_answers(model.likeness, embedded, drawn, label_names)[0].numpy())
        logits.append(scores)
        labels.append(targets)
        shapes.append((n_way, float(k_shot)))
        terms.append(_terms(n_way, float(k_shot), left_out, len(targets)))
    quantiles_SR = np.array([np.quantile(values, RATES) for values in likeness])
    terms_S4 = np.array([threshold_terms(n_way, shots) for n_way, shots in shapes])
    weights_4R = np.linalg.lstsq(terms_S4, quantiles_SR, rcond=None)[0]
    thresholds = tuple(tuple(weights.tolist()) for weights in weights_4R.T)
    return Calibration(fit_temperature(logits, labels, terms), thresholds)


def _terms(n_way: int, shots: float, left_out: Tensor | None, n_queries: int) -> Tensor:
    """One row of temperature terms per query: 4, or 6 where its task says how hard it is."""
    if left_out is None:
        row = torch.tensor(temperature_terms(n_way, shots)[:4], dtype=torch.float64)
        return row.expand(n_queries, -1)
    rows = [temperature_terms(n_way, shots, row) for row in left_out.tolist()]
    return torch.tensor(rows, dtype=torch.float64).repeat_interleave(n_queries // len(rows), dim=0)


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
            F.cross_entropy(*_answers(model.logits, embedded, drawn, label_names=True)[:2], reduction="sum").item()
            for _, _, drawn in grid
        )
    model.learner.log_name_weight.fill_(math.log(min(losses, key=lambda weight: losses[weight])))


def _answers(
    ask: Callable[[EmbeddedEpisode], Tensor], embedded: EmbeddedCorpus, drawn: Sequence[Episode], label_names: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The answers to all queries, their true classes, and `left_out` of each episode if there are several encoders.

    A batch holds about a hundred classes.
    """
    answers, left_out = [], []
    for batch in batches(drawn, max(1, 100 // drawn[0].n_way)):
        stacked = embedded.batch(batch, label_names=label_names)
        answers.append(ask(stacked).flatten(0, 1).cpu())
        left_out += [] if stacked.left_out is None else [stacked.left_out.cpu()]
    targets = torch.tensor([y for episode in drawn for y in episode.query_labels])
    return torch.cat(answers), targets, torch.cat(left_out) if left_out else None


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


def fit_temperature(logits: Sequence[Tensor], labels: Sequence[Tensor], terms: Sequence[Tensor]) -> tuple[float, ...]:
    """The weights of `temperature_terms` with the least negative log-likelihood; every shape counts the same.

    terms: for each shape one row per query.
    """
    weights = torch.zeros(terms[0].shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = [
            F.cross_entropy(scores.double() / (rows @ weights).exp()[:, None], targets)
            for scores, targets, rows in zip(logits, labels, terms, strict=True)
        ]
        loss = torch.stack(losses).mean() + 1e-4 * weights.square().sum()  # few shapes do not determine all of them
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return tuple(weights.detach().tolist())
