"""Fitting a model's calibration on episodes of held-out classes."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from meta_text.corpus.episode import Episode, batches
from meta_text.model.calibration import RATES, Calibration, Calibrations, temperature_terms, threshold_terms
from meta_text.model.cascade import cascaded, share_of
from meta_text.model.cheap_encoders import cheap_places
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel
from meta_text.training.shapes import Shape, shapes

NAME_WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # labelled texts that a class name may count as
SHOTS = (1, 2, 5, 10)
MOST_CHANGED = 0.001  # of a corpus's labels, by asking the cheap encoders first
SURE = tuple(percent / 100 for percent in range(99, 49, -1))  # probabilities tried, the safest first


@torch.no_grad()
def calibrate(
    model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], *, label_names: bool, episodes: int = 40
) -> Calibration:
    """Fit temperature and thresholds to `episodes` episodes of held-out classes in each of several shapes.

    Several encoders are also asked each alone, because a user may take one of them, and made weaker, because he may
    bring another one. Together they count as much as in all these views.
    """
    drawn = list(shapes(embedded.corpus, class_names, episodes, SHOTS))
    views = [*embedded.views, *embedded.weaker_views]
    asked = [(shape, _answers(model, view, shape.episodes, label_names)) for view in views for shape in drawn]
    counts = [count for count in (max(1, len(views) - 1), *[1] * (len(views) - 1)) for _ in drawn]
    thresholds = _thresholds(
        [
            ((shape.n_way, shape.k_shot), answers.likeness)
            for (shape, answers), count in zip(asked, counts, strict=True)
            for _ in range(count)
        ]
    )
    temperature = fit_temperature(
        [answers.logits for _, answers in asked],
        [answers.targets for _, answers in asked],
        [_terms(shape, answers) for shape, answers in asked],
        counts,
    )
    calibration = Calibration(temperature, thresholds)
    places = cheap_places(embedded.blocks, None) if embedded.is_mixture else None
    if places is None:
        return calibration
    cheap = embedded.seen_by(places)
    alone = [(shape, _answers(model, cheap, shape.episodes, label_names)) for shape in drawn]
    is_asked = [_asks_cheap_ones(embedded, shape.episodes, places, label_names) for shape in drawn]
    return replace(calibration, sure=_sure(calibration, asked[: len(drawn)], alone, is_asked))


def _asks_cheap_ones(
    embedded: EmbeddedCorpus, episodes: Sequence[Episode], places: Sequence[int], label_names: bool
) -> np.ndarray:
    """For each query, whether the cheap encoders may answer it: the task lets them, and one of them can read it."""
    tasks = []
    for episode in episodes:
        weights = embedded.weights(episode, label_names=label_names).tolist()
        asks = cheap_places(embedded.blocks, weights) is not None
        tasks.append(embedded.seen_by(places).is_read(episode.query).numpy() & asks)
    return np.concatenate(tasks)


def _sure(
    calibration: Calibration,
    together: Sequence[tuple[Shape, "Answers"]],
    alone: Sequence[tuple[Shape, "Answers"]],
    is_asked: Sequence[np.ndarray],
) -> float | None:
    """The least `Calibration.sure` at which no corpus has more than MOST_CHANGED of its labels changed; None if there is none."""
    pairs: defaultdict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    for (shape, whole), (_, part), asked in zip(together, alone, is_asked, strict=True):
        pairs[shape.corpus].append(
            (_probabilities(calibration, shape, whole), _probabilities(calibration, shape, part), ~asked)
        )

    def changed(sure: float) -> float:
        """The largest share of a corpus's labels."""
        shares = []
        for answers in pairs.values():
            moved = [
                cascaded(part, whole, share_of(part, passed, sure)).argmax(1) != whole.argmax(1)
                for whole, part, passed in answers
            ]
            shares.append(np.concatenate(moved).mean())
        return float(max(shares))

    enough = list(takewhile(lambda sure: changed(sure) <= MOST_CHANGED, SURE))
    return enough[-1] if enough else None


def _probabilities(calibration: Calibration, shape: Shape, answers: "Answers") -> np.ndarray:
    """Calibrated, of all queries of a shape [Q, N]."""
    terms = _terms(shape, answers)
    temperature = torch.tensor(calibration.temperature[: terms.shape[1]], dtype=torch.float64)
    return (answers.logits.double() / (terms @ temperature).exp()[:, None]).softmax(1).numpy()


def _thresholds(likeness: Sequence[tuple[tuple[int, int], np.ndarray]]) -> tuple[tuple[float, ...], ...]:
    """Weights of `threshold_terms` for each of RATES, by least squares on quantiles of what belongs to a class.

    Corpora that share a number of classes and of texts are pooled: half of them would lose far more than the rate if
    each had its own quantile and these were averaged.
    """
    pooled: defaultdict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    for shape, values in likeness:
        pooled[shape].append(values)
    quantiles_SR = np.array([np.quantile(np.concatenate(values), RATES) for values in pooled.values()])
    terms_S4 = np.array([threshold_terms(n_way, float(k_shot)) for n_way, k_shot in pooled])
    weights_4R = np.linalg.lstsq(terms_S4, quantiles_SR, rcond=None)[0]
    return tuple(tuple(weights.tolist()) for weights in weights_4R.T)


def _terms(shape: Shape, answers: "Answers") -> Tensor:
    """One row of temperature terms per query: 4, or 6 where its task says how hard it is."""
    n_queries, shots = len(answers.targets), float(shape.k_shot)
    if answers.left_out is None:
        row = torch.tensor(temperature_terms(shape.n_way, shots)[:4], dtype=torch.float64)
        return row.expand(n_queries, -1)
    rows = [temperature_terms(shape.n_way, shots, row) for row in answers.left_out.tolist()]
    return torch.tensor(rows, dtype=torch.float64).repeat_interleave(n_queries // len(rows), dim=0)


def calibrate_model(
    model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], episodes: int = 40
) -> Calibrations:
    """Fit a model's calibrations to held-out classes.

    If the weight of class names was not meta-trained, it is chosen here from a few values, by likelihood on the same
    classes.
    """
    model.eval()
    embedded = model.standing_still(embedded)
    plain = calibrate(model, embedded, class_names, label_names=False, episodes=episodes)
    if not model.learner.takes_names:
        return Calibrations(plain)
    if not model.learner.log_name_weight.requires_grad:
        _choose_name_weight(model, embedded, class_names, episodes // 2)
    return Calibrations(plain, calibrate(model, embedded, class_names, label_names=True, episodes=episodes))


@torch.no_grad()
def _choose_name_weight(model: MetaModel, embedded: EmbeddedCorpus, class_names: Sequence[str], episodes: int) -> None:
    drawn = list(shapes(embedded.corpus, class_names, episodes, SHOTS))
    losses = {}
    for weight in NAME_WEIGHTS:
        model.learner.log_name_weight.fill_(math.log(weight))
        answers = [_answers(model, embedded, shape.episodes, label_names=True) for shape in drawn]
        losses[weight] = sum(F.cross_entropy(one.logits, one.targets, reduction="sum").item() for one in answers)
    model.learner.log_name_weight.fill_(math.log(min(losses, key=lambda weight: losses[weight])))


class Answers(NamedTuple):
    """What a model answers to all queries of episodes of one shape."""

    logits: Float[Tensor, "Q N"]
    likeness: Float[np.ndarray, " Q"]
    targets: Int[Tensor, " Q"]
    left_out: Float[Tensor, "M 2"] | None  # of each episode, where there are several encoders


def _answers(model: MetaModel, embedded: EmbeddedCorpus, drawn: Sequence[Episode], label_names: bool) -> Answers:
    """A batch holds about a hundred classes."""
    logits, likeness, left_out = [], [], []
    for batch in batches(drawn, max(1, 100 // drawn[0].n_way)):
        stacked = embedded.batch(batch, label_names=label_names)
        logits.append(model.logits(stacked).flatten(0, 1).cpu())
        likeness.append(model.likeness(stacked).flatten().cpu())
        left_out += [] if stacked.left_out is None else [stacked.left_out.cpu()]
    targets = torch.tensor([y for episode in drawn for y in episode.query_labels])
    return Answers(torch.cat(logits), torch.cat(likeness).numpy(), targets, torch.cat(left_out) if left_out else None)


def fit_temperature(
    logits: Sequence[Tensor], labels: Sequence[Tensor], terms: Sequence[Tensor], counts: Sequence[int] | None = None
) -> tuple[float, ...]:
    """The weights of `temperature_terms` with the least negative log-likelihood.

    terms: for each shape one row per query. counts: how much each shape counts; all the same if not given.
    """
    counted = torch.tensor(counts or [1] * len(logits), dtype=torch.float64)
    share = counted / counted.sum()
    weights = torch.zeros(terms[0].shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = [
            F.cross_entropy(scores.double() / (rows @ weights).exp()[:, None], targets)
            for scores, targets, rows in zip(logits, labels, terms, strict=True)
        ]
        # the last term, because few shapes do not determine all weights
        loss = share @ torch.stack(losses) + 1e-4 * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return tuple(weights.detach().tolist())
