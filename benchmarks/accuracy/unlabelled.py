"""What unlabelled texts are worth to the default: such as will be asked, of uneven classes, and with a third of other texts.

    META_TEXT_DATA=DIR python benchmarks/accuracy/unlabelled.py [--only banking77 ...] [--draws 5] [--json runs/unlabelled.jsonl]
        [--kinds alike uneven others] [--shots 1 2 5 10 16] [--pool 2000]

All classes of a corpus at once, K labels for each, the rest split into asked texts, of which none is in the pool, and the
pool. Kinds of pools: "alike", as the corpus has them; "uneven", where the share of a class falls from 1 to a tenth; "others",
where every third text is of another corpus. --pool: at most so many texts of the corpus. One line of JSON for each corpus, kind, K, draw and --pool, with accuracy in percent,
negative log-likelihood and calibration error, without and with the pool; lines that stand in the file are not measured again.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from development import texts_and_labels
from development_table import with_interval

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.calibration import calibration_error
from meta_text.model.model import MetaModel
from meta_text.model.unlabelled import Gathered
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

CORPORA = ("banking77", "clinc150", "intents", "snips", "sst2", "mr", "sentiment", "tweet_sentiment", "tweet_offensive")
SHOTS = (1, 2, 5, 10, 16)
KINDS = ("alike", "uneven", "others")
OTHERS = {"snips": "mr"}  # whose texts are strangers; for all other corpora those of snips
MOST_ASKED, MOST_POOL = 400, 2_000


def split(
    labels: np.ndarray, shots: int, kind: str, seed: int, most_pool: int = MOST_POOL
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows to learn from, to ask, and without labels; None where a class has too few texts."""
    rng, classes = np.random.default_rng([seed, shots, 37]), np.unique(labels)
    order = [rng.permutation(np.flatnonzero(labels == name)) for name in classes]
    if min(map(len, order)) < shots + 5:
        return None
    known, rest = (
        np.concatenate(part) for part in ([rows[:shots] for rows in order], [rows[shots:] for rows in order])
    )
    rest = rng.permutation(rest)
    cut = min(MOST_ASKED, len(rest) // 3)
    pool = rest[cut:]
    if kind == "uneven":
        share = dict(zip(classes, 10 ** (-rng.permutation(len(classes)) / (len(classes) - 1)), strict=True))
        pool = pool[[rng.random() < share[label] for label in labels[pool]]]
    return known, rest[:cut], pool[:most_pool]


def measure(
    model: MetaModel, texts: Sequence[str], labels: np.ndarray, rows: tuple[np.ndarray, ...], others: Sequence[str]
) -> dict[str, float]:
    """Without and with the pool; others: texts that are put into it."""
    known, asked, pool = rows
    support = [texts[row] for row in known]
    unlabeled = [*(texts[row] for row in pool), *others]
    found: dict[str, float] = {"pool": len(unlabeled)}
    for name, more in (("without", None), ("with", unlabeled)):
        start = time.perf_counter()
        classifier = FewShotClassifier(model).fit(support, labels[known], unlabeled=more)
        found[f"seconds_{name}"] = time.perf_counter() - start
        found["concentration"] = Gathered.of(classifier.adaptation_.task).concentration
        probabilities = classifier.predict_proba([texts[row] for row in asked])
        targets = np.searchsorted(classifier.classes_, labels[asked])
        right = probabilities.argmax(1) == targets
        found[f"accuracy_{name}"] = 100 * float(right.mean())
        found[f"loss_{name}"] = float(-np.log(probabilities[np.arange(len(targets)), targets].clip(1e-12)).mean())
        found[f"error_{name}"] = calibration_error(probabilities.max(1), right)
    return found


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Means over draws, with intervals of the gain on each corpus, and the mean over corpora."""
    groups: defaultdict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["kind"], row["shots"], row["corpus"]].append(row)
    lines = ["| pool | K | corpus | without | with | gain | log-likelihood | calibration error |"]
    lines += ["| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for kind in KINDS:
        for shots in sorted({shots for k, shots, _ in groups if k == kind}):
            found = {corpus: group for (k, s, corpus), group in groups.items() if (k, s) == (kind, shots)}
            summary: list[tuple[float, ...]] = []
            for corpus, group in found.items():
                before, after, loss, error, error_with = (
                    fmean(value(row) for row in group)
                    for value in (
                        lambda row: row["accuracy_without"],
                        lambda row: row["accuracy_with"],
                        lambda row: row["loss_without"] - row["loss_with"],
                        lambda row: row["error_without"],
                        lambda row: row["error_with"],
                    )
                )
                gain = np.array([row["accuracy_with"] - row["accuracy_without"] for row in group])
                summary.append((before, after, loss, error, error_with))
                lines.append(
                    f"| {kind} | {shots} | {corpus} | {before:.1f} | {after:.1f} | {with_interval(gain)} | {loss:+.2f} | "
                    f"{error:.3f} -> {error_with:.3f} |"
                )
            if len(summary) > 1:
                before, after, loss, error, error_with = (fmean(values) for values in zip(*summary, strict=True))
                lines.append(
                    f"| {kind} | {shots} | **mean of {len(summary)}** | {before:.1f} | {after:.1f} | {after - before:+.1f} | "
                    f"{loss:+.2f} | {error:.3f} -> {error_with:.3f} |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--shots", nargs="*", type=int, default=SHOTS)
    parser.add_argument("--pool", type=int, default=MOST_POOL)
    parser.add_argument("--json", type=Path, default=Path("runs/unlabelled.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["most_pool"] == options.pool]
    done = {(row["corpus"], row["kind"], row["shots"], row["draw"]) for row in rows}
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    for name in options.only:
        texts, labels = texts_and_labels(name)
        strangers, _ = texts_and_labels(OTHERS.get(name, "snips"))
        for kind in options.kinds:
            for shots in options.shots:
                for seed in [seed for seed in range(options.draws) if (name, kind, shots, seed) not in done]:
                    drawn = split(labels, shots, kind, seed, options.pool)
                    if drawn is None:
                        break
                    others = strangers[: len(drawn[2]) // 2] if kind == "others" else []
                    found = measure(model, texts, labels, drawn, others)
                    place = {"corpus": name, "kind": kind, "shots": shots, "draw": seed, "most_pool": options.pool}
                    rows.append({**place, **found})
                    with options.json.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
