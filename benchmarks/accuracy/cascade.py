"""What asking the cheap encoders first saves, and what it costs: the default with and without, on identical draws.

    META_TEXT_DATA=DIR python benchmarks/accuracy/cascade.py [--draws 4] [--json runs/cascade.jsonl] [--figure FILE]

All classes of a corpus at once, K labels for each, 500 texts asked. `read` is the share of them that the dear encoder
reads. How sure the cheap ones must be was learned on the corpora with a star.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from development import CORPORA, SHOTS, draw, texts_and_labels

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.adaptation import Adaptation
from meta_text.model.cascade import answers_of
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

DEAR = "e5"


def share_read(adapted: Adaptation, texts: list[str]) -> float:
    """How many of these texts the dear encoder reads."""
    blocks = adapted.model.embedding
    columns = blocks.columns([blocks.names.index(DEAR)])
    parts, _, _ = answers_of(adapted, texts, whole=False)[0]
    return float((torch.stack(parts)[:, columns] != 0).any(1).float().mean())


def measure(name: str, draws: int) -> list[dict[str, Any]]:
    texts, labels = texts_and_labels(name)
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    trained = name in (model.recipe.corpus.name, *model.recipe.corpus.also)
    rows = []
    for k_shot in [k for k in SHOTS if k < min(np.bincount(labels))]:
        for seed in range(draws):
            known, asked = draw(labels, k_shot, seed)
            classifier = FewShotClassifier(model).fit([texts[row] for row in known], labels[known])
            queries, targets = [texts[row] for row in asked], labels[asked]
            answers = classifier.predict(queries)
            read = share_read(classifier.adaptation_, queries)
            classifier.adaptation_ = replace(classifier.adaptation_, first=None)
            whole = classifier.predict(queries)
            row = {"corpus": name, "trained": trained, "k_shot": k_shot, "draw": seed, "read": read}
            row |= {"lost": float((whole == targets).mean() - (answers == targets).mean())}
            row |= {"changed": float((whole != answers).mean()), "accuracy": float((whole == targets).mean())}
            rows.append(row)
    return rows


def means(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, float]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row["corpus"] + (" *" if row["trained"] else ""), row["k_shot"]].append(row)
    keys = ("accuracy", "read", "changed", "lost")
    return {group: {key: fmean(row[key] for row in found) for key in keys} for group, found in groups.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| corpus | K | accuracy of all | texts read by e5 | labels changed | accuracy lost |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for (corpus, k_shot), found in means(rows).items():
        percent = {key: 100 * value for key, value in found.items()}
        lines.append(
            f"| {corpus} | {k_shot} | {percent['accuracy']:.1f} | {percent['read']:.0f} % | "
            f"{percent['changed']:.2f} % | {percent['lost']:+.2f} |"
        )
    return "\n".join(lines)


def draw_figure(rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Each corpus at each K: the texts that the dear encoder reads against the accuracy lost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    found = means(rows)
    for k_shot, marker in zip(SHOTS, "o^s", strict=True):
        points = [(100 * m["read"], 100 * m["lost"]) for (_, k), m in found.items() if k == k_shot]
        axes.scatter(*zip(*points, strict=True), marker=marker, label=f"{k_shot} label{'s' * (k_shot > 1)} a class")
    for (corpus, _), m in found.items():
        if m["read"] < 0.5 or abs(m["lost"]) > 0.0008:
            axes.annotate(
                corpus,
                (100 * m["read"], 100 * m["lost"]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
                rotation=18,
            )
    axes.axhline(0.2, color="0.6", linestyle="--", linewidth=1)
    axes.annotate(
        "0.2 points", (100, 0.2), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8, color="0.4"
    )
    axes.margins(0.12)
    axes.set_xlabel("texts that E5 reads, %")
    axes.set_ylabel("accuracy lost, points")
    axes.set_title("Asking MiniLM and n-grams first")
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(target, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("runs/cascade.jsonl"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with options.json.open("w", encoding="utf-8") as file:
        for name in options.only:
            found = measure(name, options.draws)
            file.writelines(json.dumps(row) + "\n" for row in found)
            file.flush()
            rows += found
    print(table(rows))
    if options.figure is not None:
        draw_figure(rows, options.figure)


if __name__ == "__main__":
    main()
