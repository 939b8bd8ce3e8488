"""The tables and the figure of `development.py`.

python benchmarks/accuracy/development_table.py runs/development.jsonl [--figure recipes/development.png]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

ORACLE = ("lr_minilm", "lr_e5", "lr_both")  # the best of these for each corpus, picked afterwards
NOT_ENGLISH = ("csldcp",)
COLUMNS = {
    "lr_minilm": "LR, MiniLM",
    "lr_e5": "LR, e5",
    "lr_both": "LR, both",
    "lr_letters": "LR, n-grams",
    "before": "first default",
    "fast": '`"fast"`',
    "default": "default",
}
Rows = Sequence[dict[str, Any]]


def values(rows: Rows, column: str, which: int = 0) -> np.ndarray:
    """One number per draw: accuracy in percent (0) or calibration error (1)."""
    return np.array([row["scores"][column][which] for row in rows]) * (100 if which == 0 else 1)


def with_interval(gaps: np.ndarray) -> str:
    """Mean and 95 % half-width over draws."""
    if len(gaps) < 2:
        return f"{gaps.mean():+.1f}"
    return f"{gaps.mean():+.1f} ± {t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5:.1f}"


def groups(rows: Rows) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """Rows by (K, corpus), in the order of the file."""
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["k_shot"]):
        found.setdefault((row["k_shot"], row["corpus"]), []).append(row)
    return found


def oracle(rows: Rows) -> str:
    return max(ORACLE, key=lambda column: float(values(rows, column).mean()))


def table(rows: Rows) -> str:
    """A line for each corpus and number of labels."""
    columns = [column for column in COLUMNS if column in rows[0]["scores"]]
    head = ["corpus", "classes", "labels", *(COLUMNS[c] for c in columns)]
    head += ["against LR, MiniLM", "against the best LR", "ECE", "weights"]
    lines = [head, ["---"] * len(head)]
    for (k_shot, corpus), part in groups(rows).items():
        own = values(part, "default")
        weights = {name: np.mean([row["weights"][name] for row in part]) for name in part[0]["weights"]}
        lines.append(
            [
                corpus + (" *" if part[0]["trained"] else ""),
                str(part[0]["n_way"]),
                str(k_shot),
                *(f"{values(part, column).mean():.1f}" for column in columns),
                with_interval(own - values(part, "lr_minilm")),
                with_interval(own - values(part, oracle(part))),
                f"{values(part, 'default', 1).mean():.3f}",
                ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items()),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(rows: Rows) -> str:
    """Means over corpora, for each number of labels."""
    found = groups(rows)
    columns = ["lr_e5", "lr_both", "before", "fast", "default"]
    columns = [column for column in columns if column in rows[0]["scores"]]
    head = [
        "labels a class",
        *(f"{COLUMNS[c]}" for c in columns),
        "worst corpus",
        "against the best LR",
        "worst corpus",
    ]
    lines = [[*head, "ECE"], ["---"] * (len(head) + 1)]
    for k_shot in dict.fromkeys(k for k, _ in found):
        parts = {name: part for (k, name), part in found.items() if k == k_shot}
        english = [part for name, part in parts.items() if name not in NOT_ENGLISH]
        gains = [[(values(p, c) - values(p, "lr_minilm")).mean() for p in english] for c in columns]
        against = {name: (values(p, "default") - values(p, oracle(p))).mean() for name, p in parts.items()}
        worst = min(against, key=lambda name: against[name])
        lines.append(
            [
                str(k_shot),
                *(f"{np.mean(gain):+.1f}" for gain in gains),
                f"{min(gains[-1]):+.1f}",
                f"{np.mean(list(against.values())):+.1f}",
                f"{against[worst]:+.1f} ({worst})",
                f"{np.mean([values(p, 'default', 1).mean() for p in parts.values()]):.3f}",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(rows: Rows, path: Path) -> None:
    """Gain over logistic regression on MiniLM by corpus, and against the weight that e5 got."""
    import matplotlib.pyplot as plt

    found = groups(rows)
    shots = list(dict.fromkeys(k for k, _ in found))
    names = list(dict.fromkeys(name for _, name in found))
    left: Any
    right: Any
    drawing, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for i, k_shot in enumerate(shots):
        parts = [(at, found[k_shot, name]) for at, name in enumerate(names) if (k_shot, name) in found]
        gains = [(values(p, "default") - values(p, "lr_minilm")).mean() for _, p in parts]
        left.barh([at + 0.26 * (i - 1) for at, _ in parts], gains, height=0.24, label=f"labels a class: {k_shot}")
        right.scatter([np.mean([row["weights"]["e5"] for row in p]) for _, p in parts], gains, label=f"{k_shot}")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xlabel("points of accuracy over logistic regression on MiniLM")
    left.legend(frameon=False)
    right.set_xlabel("weight that the labelled texts gave to e5")
    right.set_ylabel("points gained")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    left.axvline(0, color="black", linewidth=0.8)
    right.axhline(0, color="black", linewidth=0.8)
    drawing.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text("utf-8").splitlines()]
    print(summary(rows), table(rows), sep="\n\n")
    if options.figure is not None:
        figure(rows, options.figure)


if __name__ == "__main__":
    main()
