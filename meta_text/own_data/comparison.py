"""This package's default beside others on one's own labelled texts: the same draws, the same questions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meta_text.classify.classifier import FewShotClassifier
from meta_text.embedding.remembered import Remembered
from meta_text.errors import InputError
from meta_text.model.calibration import calibration_error
from meta_text.own_data.contenders import beside, contenders, remembering
from meta_text.own_data.draws import Draw, Labelled, Shots, draws, fewest, labelled, listed, shots_of
from meta_text.own_data.peers import peers
from meta_text.own_data.runner import Answered, Note, Progress, Runner
from meta_text.own_data.table import Metric, Row, Table, paired_interval
from meta_text.wording import counted, duration

UNEVEN = 2  # times as many texts in the largest class as in the smallest: macro-F1 then, else accuracy
READ_FIRST = 64  # texts, to tell how long reading all of them takes


@dataclass(frozen=True)
class Comparison:
    """One table for each number of labelled texts per class, and what was left out or guessed."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def benchmark(
    texts: Any,
    labels: Any,
    k: Any = "5,10,all",
    *,
    n_draws: int = 10,
    most_texts: int = 2000,
    most_minutes: float = 10.0,
    seed: int = 0,
    classifier: FewShotClassifier | None = None,
    encoder: Any = "minilm",
    note: Note = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Comparison:
    """Compare `FewShotClassifier()` with baselines, and with the other packages that are installed.

    The texts are dealt into `n_draws` parts, stratified. Each part is asked once; everybody learns from the same k texts
    of each class of the other parts, or with "all" from all of them.

    texts and labels: as for `FewShotClassifier.fit`. k: "5,10,all", a number, or a list of these. most_texts: of a large
    set, so many take part. most_minutes: another package that would take longer at one k is left out there. classifier:
    in place of the default. encoder: what logistic regression and nearest neighbours read with (see `open_encoder`). note and progress are
    called with lines for people, and as the work goes on.

    Raises InputError for another k, n_draws or most_texts, for texts and labels that `fit` would refuse, and where no
    two classes have two texts, or none has k to learn from.
    """
    all_shots, told = shots_of(k), list[str]()

    def tell(line: str) -> None:
        told.append(line)
        note(line)

    for name, number, least in (("n_draws", n_draws, 2), ("most_texts", most_texts, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise InputError(f"{name}={number!r}; a whole number from {least} on is needed")
    data = labelled(texts, labels, most_texts, seed)
    for line in data.notes:
        tell(line)
    drawn = _possible(data, {shots: draws(data, shots, n_draws, seed) for shots in all_shots}, tell)
    there, missing = peers()
    if missing:
        tell(f"{' and '.join(missing)}: not installed, so not compared; pip install {' '.join(missing)}")
    ours, encoders = remembering(classifier or FewShotClassifier())
    own = beside(encoders, encoder)
    encoders = list({id(one): one for one in (*encoders, own)}.values())
    _read(encoders, data, note, tell, progress)
    runner = Runner(data, encoders, 60.0 * most_minutes, tell)
    runner.run([*contenders(ours, own), *there], drawn, note, progress)
    metric: Metric = "accuracy"
    if data.counts.max() > UNEVEN * data.counts.min():
        metric = "f1_macro"
        tell(f"classes have {data.counts.min()} to {data.counts.max()} texts: macro-F1 is compared, not accuracy")
    tables = tuple(_table(data, shots, parts, metric, runner.answered[shots]) for shots, parts in drawn.items())
    return Comparison(tables, tuple(told))


def _possible(data: Labelled, drawn: dict[Shots, list[Draw]], tell: Note) -> dict[Shots, list[Draw]]:
    """Without numbers that no class has; tells which classes have less than they should."""
    kept = {}
    for shots, parts in drawn.items():
        there = fewest(data, parts)
        short = [data.class_names[i] for i in np.flatnonzero(there < (shots or 0))]
        if shots is not None and len(short) == len(there):
            tell(f"K = {shots} is left out: no class has more than {counted(int(there.max()), 'text')} not asked")
            continue
        if short:
            tell(
                f"K = {shots}: {counted(len(short), 'class has', 'classes have')} fewer texts that are not asked, and "
                f"all of these are learned from: {listed(short)}"
            )
        kept[shots] = parts
    if not kept:
        most = max(fewest(data, parts).max() for parts in drawn.values())
        raise InputError(
            f"no class has more than {counted(int(most), 'text')} to learn from beside those that are asked, and k asks for "
            f"{min(shots for shots in drawn if shots)}; take a smaller k, or all"
        )
    return kept


def _read(encoders: Sequence[Remembered], data: Labelled, note: Note, tell: Note, progress: Progress) -> None:
    """Every text by every encoder, once; tells how long that takes and what cannot be read."""
    started = time.perf_counter()
    for one in encoders:
        one.encode(data.texts[:READ_FIRST])
    rest = len(data.texts) - READ_FIRST
    if (about := (time.perf_counter() - started) / READ_FIRST * rest) >= 5:
        note(f"reading {len(data.texts):,} texts takes about {duration(about)}")
    for place, one in enumerate(encoders):

        def shown(done: int, _: int, before: int = place * rest) -> None:
            progress("reading texts", before + done, rest * len(encoders))

        read = one.encode(data.texts, shown)
        if cut := sum(read.is_cut):
            tell(f"{counted(cut, 'text is', 'texts are')} longer than {one.name} reads; what is beyond is not seen")
        if unread := sum(read.is_unread):
            tell(f"{counted(unread, 'text is', 'texts are')} mostly in a script that {one.name} does not know")


def _table(
    data: Labelled, shots: Shots, parts: Sequence[Draw], metric: Metric, answered: dict[str, list[Answered]]
) -> Table:
    ours = [one.score(metric) for one in next(iter(answered.values()))]
    rows: list[Row] = []
    for name, each in answered.items():
        gaps = [one.score(metric) - our for one, our in zip(each, ours, strict=True)]
        probabilities = np.concatenate([one.probabilities for one in each])
        truth = np.concatenate([one.truth for one in each])
        rows.append(
            Row(
                method=name,
                accuracy=float(np.mean([one.score("accuracy") for one in each])),
                f1_macro=float(np.mean([one.score("f1_macro") for one in each])),
                difference=paired_interval(gaps) if rows else None,
                fit_seconds=float(np.median([one.fit_seconds for one in each])),
                seconds_per_1000=float(np.median([1000 * one.answer_seconds / len(one.truth) for one in each])),
                calibration_error=calibration_error(probabilities.max(1), probabilities.argmax(1) == truth),
            )
        )
    asked = sum(len(draw.asked) for draw in parts)
    return Table(shots, metric, len(data.class_names), len(parts[0].learned), asked, len(parts), tuple(rows))
