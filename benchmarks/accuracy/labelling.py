"""Which texts to label: how soon every class has a label, and how good the labels are, against random ones and k-means.

    META_TEXT_DATA=DIR python benchmarks/accuracy/labelling.py [--only banking77 ...] [--draws 3] [--figure FILE.png]

Half of a corpus's texts are the pile, the others are asked. `suggest` chooses a batch, whose labels are then learned, and so
on. K-means, in the space that `suggest` has before labels, takes the text nearest each of as many centres as there are
labels. One line of JSON for each corpus, way and draw; lines that stand in the file are not measured again.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from development import texts_and_labels
from sklearn.cluster import KMeans

from meta_text.classify.suggest import Pile, most_worth
from meta_text.embedding.encoders import open_encoders
from meta_text.model.adaptation import Adaptation
from meta_text.model.model import MetaModel
from meta_text.model.unlabelled_space import unlabelled_space
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

# numbers of labels at which accuracy is measured, each twice the one before
MARKS = {
    "banking77": (77, 154, 308),
    "clinc150": (150, 300, 600),
    "intents": (48, 96, 192),
    "snips": (14, 28, 56),
    "sst2": (8, 16, 32, 64),
}
MANY = ("banking77", "clinc150")  # for which labels are counted until every class has one
MOST_TEXTS = {"banking77": 50, "clinc150": 40, "intents": 50, "snips": 120, "sst2": 300}  # of each class
MOST_ASKED = 1000
WAYS = ("suggest", "random", "k-means")


class Task:
    """A pile with its true labels, and texts that are asked; both represented."""

    def __init__(self, model: MetaModel, vectors: torch.Tensor, labels: np.ndarray, seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(len(labels))
        mine, other = rows[: len(rows) // 2], rows[len(rows) // 2 :][:MOST_ASKED]
        self.model, self.seed = model, seed
        self.vectors, self.labels = vectors[mine], labels[mine]
        self.asked, self.targets = vectors[other], labels[other]
        self.pile = Pile([str(i) for i in range(len(mine))], range(len(mine)), list(self.vectors))

    def learned(self, rows: Sequence[int]) -> Adaptation | None:
        support: defaultdict[int, list[str]] = defaultdict(list)
        for row in rows:
            support[int(self.labels[row])].append(str(row))
        if not support:
            return None
        features = {str(row): self.vectors[row] for row in rows}
        in_order = {label: tuple(sorted(support[label])) for label in sorted(support)}
        return Adaptation.of_represented(self.model, self.model.calibration.plain, in_order, None, features)

    def accuracy(self, rows: Sequence[int]) -> float:
        """In percent, of texts of all classes, those without a label too."""
        adapted = self.learned(rows)
        assert adapted is not None
        answers = np.array(list(adapted.support))[adapted.score(list(self.asked)).argmax(1).numpy()]
        return 100 * float((answers == self.targets).mean())

    def suggested(self, least: int, batch: int, classes: int) -> list[int]:
        """So many rows at least, and until so many classes are found."""
        rows: list[int] = []
        while len(rows) < least or self.found(rows) < classes:
            rows += most_worth(self.pile, batch, self.model, self.learned(rows), set(rows))
        return rows

    def random(self) -> list[int]:
        rows: list[int] = np.random.default_rng([self.seed, 1]).permutation(len(self.labels)).tolist()
        return rows

    def nearest_centres(self, k: int) -> list[int]:
        points = unlabelled_space(self.vectors, self.model.embedding, self.model.prior)(self.vectors).numpy()
        rows: list[int] = KMeans(k, n_init=1, random_state=self.seed).fit(points).transform(points).argmin(0).tolist()
        return rows

    def found(self, rows: Sequence[int]) -> int:
        return len(set(self.labels[list(rows)]))


def measure(task: Task, way: str, name: str) -> dict[str, Any]:
    """Accuracy and classes found at the marks; and with many classes the number of labels until each has one."""
    marks, n_way = MARKS[name], len(set(task.labels))
    needed = n_way if name in MANY else 0
    if way == "k-means":
        sets = {mark: task.nearest_centres(mark) for mark in marks}
        until, k = None, n_way
        while needed and until is None:
            until = k if task.found(task.nearest_centres(k)) == n_way else None
            k = round(1.1 * k)
    else:
        order = task.random() if way == "random" else task.suggested(marks[-1], marks[0] // 4, needed)
        sets = {mark: order[:mark] for mark in marks}
        until = next((i for i in range(n_way, len(order) + 1) if task.found(order[:i]) == n_way), None)
    row: dict[str, Any] = {"n_way": n_way, "until": until if needed else None}
    row["found"] = {str(mark): task.found(rows) for mark, rows in sets.items()}
    return row | {"accuracy": {str(mark): task.accuracy(rows) for mark, rows in sets.items()}}


def encoded(model: MetaModel, name: str) -> tuple[torch.Tensor, np.ndarray]:
    """Vectors and labels of a corpus, at most MOST_TEXTS of each class."""
    texts, labels = texts_and_labels(name)
    rng = np.random.default_rng(0)
    each = [rng.permutation(np.flatnonzero(labels == label))[: MOST_TEXTS[name]] for label in np.unique(labels)]
    rows = np.concatenate(each)
    return torch.stack(list(model.represent([texts[row] for row in rows]).parts)), labels[rows]


Groups = dict[tuple[str, str], list[dict[str, Any]]]


def grouped(rows: Sequence[dict[str, Any]]) -> Groups:
    groups: Groups = defaultdict(list)
    for row in rows:
        groups[row["corpus"], row["way"]].append(row)
    return groups


def mean(groups: Groups, name: str, way: str, what: str, mark: int) -> float:
    return fmean(row[what][str(mark)] for row in groups[name, way])


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Means over draws: labels until every class has one; accuracy beside that of random labels, also of twice as many."""
    groups = grouped(rows)
    names = [name for name in MARKS if (name, "suggest") in groups]
    lines = [f"| corpus | classes | {' | '.join(WAYS)} |", "| --- | ---: | ---: | ---: | ---: |"]
    for name in [name for name in names if name in MANY]:
        each = [[row["until"] for row in groups[name, way]] for way in WAYS]
        cells = [f"{fmean(until):.0f} ({min(until)} to {max(until)})" for until in each]
        lines.append(f"| {name} | {groups[name, 'suggest'][0]['n_way']} | {' | '.join(cells)} |")
    lines += ["", f"| corpus | labels | {' | '.join(WAYS)} | random, twice as many | difference | classes found |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for name in names:
        for mark, double in zip(MARKS[name], (*MARKS[name][1:], None), strict=True):
            each = [mean(groups, name, way, "accuracy", mark) for way in WAYS]
            twice = None if double is None else mean(groups, name, "random", "accuracy", double)
            goal = "- | -" if twice is None else f"{twice:.1f} | {each[0] - twice:+.1f}"
            found = " / ".join(f"{mean(groups, name, way, 'found', mark):.0f}" for way in WAYS)
            lines.append(f"| {name} | {mark} | {' | '.join(f'{one:.1f}' for one in each)} | {goal} | {found} |")
    return "\n".join(lines)


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy against the number of labels, a panel for each corpus."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = grouped(rows)
    names = [name for name in MARKS if (name, "suggest") in groups]
    fig, panels = plt.subplots(1, len(names), figsize=(2.6 * len(names), 3), layout="constrained", squeeze=False)
    styles = {"suggest": ("k", "o-"), "random": ("0.6", "s--"), "k-means": ("tab:blue", "^:")}
    for axes, name in zip(panels[0], names, strict=True):
        for way in WAYS:
            values = [mean(groups, name, way, "accuracy", mark) for mark in MARKS[name]]
            color, style = styles[way]
            axes.plot(MARKS[name], values, style, color=color, label=way)
        axes.set_xscale("log", base=2)
        axes.set_xticks(MARKS[name], [str(mark) for mark in MARKS[name]])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("labels")
    panels[0][0].set_ylabel("accuracy (%)")
    panels[0][0].legend()
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(MARKS))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path, default=Path("runs/labelling.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["corpus"], row["way"], row["draw"]) for row in rows}
    model = load_model(DEFAULT, open_encoders("auto"))
    for name in options.only:
        wanted = [(way, seed) for way in WAYS for seed in range(options.draws) if (name, way, seed) not in done]
        vectors, labels = encoded(model, name) if wanted else (torch.empty(0), np.empty(0))
        for way, seed in wanted:
            found = measure(Task(model, vectors, labels, seed), way, name)
            rows.append({"corpus": name, "way": way, "draw": seed, **found})
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(tables(rows))
    if options.figure is not None:
        figure(rows, options.figure)


if __name__ == "__main__":
    main()
