"""fit(..., effort="high") against the same default without it: all classes of a corpus at once, K labels for each.

    META_TEXT_DATA=DIR python benchmarks/accuracy/effort.py [--only snips ...] [--draws 3] [--json runs/effort.jsonl]

One line of JSON for each corpus, K and draw; lines that stand in the file are not measured again. BANKING77 and CLINC150
have more than the 500 texts that a minute is meant for from 8 labels a class on.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from development import CORPORA, draw, scores, texts_and_labels

from meta_text import FewShotClassifier
from meta_text.classify.answers import answer

SHOTS = (8, 16, 50)
MOST_TEXTS, MOST_ASKED = 1300, 300  # labelled; asked
FIRST_DRAW = 10  # the threshold for moving was chosen on draws below


def measure(name: str, k_shot: int, seed: int) -> dict[str, Any] | None:
    """Accuracy, calibration error and seconds with and without effort; None where a class has too few texts."""
    texts, labels = texts_and_labels(name)
    n_way = len(np.unique(labels))
    if k_shot >= min(np.bincount(labels)) or k_shot * n_way > MOST_TEXTS:
        return None
    known, asked = draw(labels, k_shot, seed)
    asked = asked[:MOST_ASKED]
    given, queries = [texts[row] for row in known], [texts[row] for row in asked]
    row: dict[str, Any] = {"corpus": name, "k_shot": k_shot, "draw": seed, "texts": len(given)}
    for effort in ("normal", "high"):
        classifier, started = FewShotClassifier(), time.perf_counter()
        classifier.fit(given, labels[known], effort=effort)
        seconds = time.perf_counter() - started
        found = answer(classifier.adaptation_, queries, 0.05)
        assert found.known is not None
        row[effort] = [*scores(found.probabilities, labels[asked]), 1 - float(found.known.mean()), seconds]
        move = classifier.adaptation_.move
    assert move is not None
    return {**row, "moved": move.is_moved, "place": move.place, "held_out": [move.texts, move.right, move.right_moved]}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Means over draws for each corpus and K, and over corpora for each K."""
    groups: defaultdict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["k_shot"], row["corpus"]].append(row)
    lines = ["| corpus | K | draws | normal | high | difference | moved | calibration error | refused | seconds |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for k_shot in sorted({k for k, _ in groups}):
        found = {corpus: group for (k, corpus), group in groups.items() if k == k_shot}
        lines += [_line(corpus, k_shot, group) for corpus, group in found.items()]
        lines.append(_line(f"**mean of {len(found)}**", k_shot, list(found.values())))
    return "\n".join(lines)


def _line(name: str, k_shot: int, rows: Sequence[Any]) -> str:
    """rows: of one corpus, or a list of those of each."""
    each = rows if isinstance(rows[0], list) else [rows]

    def mean(effort: str, place: int) -> float:
        return fmean(fmean(row[effort][place] for row in group) for group in each)

    normal, high = 100 * mean("normal", 0), 100 * mean("high", 0)
    moved = fmean(fmean(row["moved"] for row in group) for group in each)
    draws = max(map(len, each))
    errors, refused = (f"{mean('normal', i):.3f} / {mean('high', i):.3f}" for i in (1, 2))
    return (
        f"| {name} | {k_shot} | {draws} | {normal:.1f} | {high:.1f} | {high - normal:+.1f} | {100 * moved:.0f} % | "
        f"{errors} | {refused} | {mean('normal', 3):.1f} / {mean('high', 3):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--shots", nargs="*", type=int, default=SHOTS)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("runs/effort.jsonl"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "text .* under")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["corpus"], row["k_shot"], row["draw"]) for row in rows}
    with options.json.open("a", encoding="utf-8") as file:
        for seed in range(FIRST_DRAW, FIRST_DRAW + options.draws):
            for k_shot in options.shots:
                for name in options.only:
                    if (name, k_shot, seed) in done or (row := measure(name, k_shot, seed)) is None:
                        continue
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    rows.append(row)
    print(table(rows))


if __name__ == "__main__":
    main()
