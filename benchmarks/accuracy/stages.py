"""What each stage of learning a task is worth: the start, the rule's steps, convergence, and the choice between the last two.

    META_TEXT_DATA=DIR python benchmarks/accuracy/stages.py [--only banking77 ...] [--draws 5] [--json runs/stages.jsonl]

All classes of a corpus at once, in the same space of the same encoders, K labels for each, or as many as a Zipf law says
(exponent .9, six on average, one at least). Asked texts are balanced over classes. One line of JSON for each corpus, K and
draw; lines that stand in the file are not measured again.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from development import texts_and_labels
from development_table import with_interval

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.learners.learner import prototype_head
from meta_text.model.adaptation import Adaptation
from meta_text.model.finish import CONVERGED, Finish, at_finish
from meta_text.model.mixture import SPACE
from meta_text.model.model import MetaModel
from meta_text.model.task import learn_task
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

CORPORA = ("banking77", "clinc150", "intents", "snips", "sst2", "mr", "sentiment", "tweet_sentiment", "tweet_offensive")
SHOTS = ("1", "2", "5", "16", "50", "uneven")
MOST_TEXTS, MOST_ASKED = 70, 400  # of each class; asked
STAGES = ("start", "rule", "converged", "default")


def stages(adapted: Adaptation) -> dict[str, Adaptation]:
    """The same task where it stops at the prototypes, after the rule's steps, at convergence, and where it does stop."""
    space = {key: value for key, value in adapted.task.items() if key in (*SPACE, "sharpness")}
    rule = learn_task(adapted.given, space)
    start = {**rule, "head": prototype_head(rule["prototypes"], rule.get("excess", torch.zeros(adapted.n_way)))}
    end = at_finish(rule, CONVERGED, adapted.given)
    tasks = dict(zip(STAGES, (start, rule, end, adapted.task), strict=True))
    return {name: replace(adapted, task=task) for name, task in tasks.items()}


def counts_of(shots: str, n_way: int, rng: np.random.Generator) -> list[int]:
    """Labels for each class."""
    if shots != "uneven":
        return [int(shots)] * n_way
    shares = 1 / np.arange(1, n_way + 1) ** 0.9
    counts: list[int] = rng.permutation(np.maximum(1, np.round(6 * n_way * shares / shares.sum()))).astype(int).tolist()
    return counts


def measure(
    model: MetaModel, texts: Sequence[str], labels: np.ndarray, shots: str, seed: int
) -> dict[str, float] | None:
    """Balanced accuracy after each stage, in percent, and the share of convergence; None where a class has too few texts."""
    rng, classes = np.random.default_rng([seed, 31]), np.unique(labels)
    known, rest = list[int](), list[int]()
    for name, count in zip(classes, counts_of(shots, len(classes), rng), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == name))[:MOST_TEXTS]
        if shots != "uneven" and count + 5 > len(rows):
            return None
        cut = min(count, len(rows) - 5)
        known, rest = [*known, *rows[:cut].tolist()], [*rest, *rows[cut:].tolist()]
    asked = rng.permutation(rest)[:MOST_ASKED]
    adapted = FewShotClassifier(model).fit([texts[row] for row in known], labels[known]).adaptation_
    parts, targets = adapted.represent([texts[row] for row in asked]).parts, labels[asked]
    found = {"share": Finish.of(adapted.task).share}
    for name, stage in stages(adapted).items():
        right = np.array(list(adapted.support))[stage.score(parts).argmax(1).numpy()] == targets
        found[name] = 100 * float(np.mean([right[targets == one].mean() for one in np.unique(targets)]))
    return found


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Means over draws, with intervals of the difference to the better of rule and convergence on each corpus."""
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["shots"], row["corpus"]].append(row)
    lines = ["| K | corpus | start | rule | converged | default | against the rule | share of convergence |"]
    lines += ["| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for shots in SHOTS:
        found = {corpus: group for (k, corpus), group in groups.items() if k == shots}
        for corpus, group in found.items():
            gap = np.array([row["default"] - row["rule"] for row in group])
            means = " | ".join(f"{fmean(row[stage] for row in group):.1f}" for stage in STAGES)
            lines.append(
                f"| {shots} | {corpus} | {means} | {with_interval(gap)} | {fmean(r['share'] for r in group):.2f} |"
            )
        if found:
            each = [[fmean(row[stage] for row in group) for group in found.values()] for stage in STAGES]
            means = " | ".join(f"{fmean(values):.1f}" for values in each)
            lines.append(f"| {shots} | **mean of {len(found)}** | {means} | {fmean(each[3]) - fmean(each[1]):+.1f} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/stages.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["corpus"], row["shots"], row["draw"]) for row in rows}
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    for name in options.only:
        texts, labels = texts_and_labels(name)
        for shots in SHOTS:
            for seed in [seed for seed in range(options.draws) if (name, shots, seed) not in done]:
                found = measure(model, texts, labels, shots, seed)
                if found is None:
                    break
                rows.append({"corpus": name, "shots": shots, "draw": seed, **found})
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
