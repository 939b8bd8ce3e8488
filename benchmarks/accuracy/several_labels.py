"""Several labels a text: the default against logistic regression for each label, on two settings made from corpora of one label.

    META_TEXT_DATA=DIR python benchmarks/accuracy/several_labels.py [--only banking77_joined ...] [--unlabelled] [--json runs/several_labels.jsonl]

"joined": two texts of different classes become one text with both labels, so that there are as many of these as of texts
with one label. "two": a text's domain and its intent. Each of K texts of a class is used once, joined or alone; the texts
asked are others, the same for every K. At most POOL texts of a class take part; those that are neither asked nor labelled
for the largest K are what --unlabelled fits with, too, joined as the others are. Settings of data/intents and SNIPS are
those that choices were made on. One line of JSON for each setting, K, draw and method; lines that stand in the file are
not measured again. "at best" is logistic regression at the one threshold that gives the asked texts the best micro-F1.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from development import centred
from development_table import with_interval
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, label_ranking_average_precision_score
from sklearn.multiclass import OneVsRestClassifier

from meta_text import Corpus, MultiLabelFewShotClassifier
from meta_text.corpus.same_text import fold
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.mixture import Prior
from meta_text.model.model import MetaModel
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

SETTINGS = {  # corpus, how texts get several labels, which part of split 1 (None: all classes)
    "banking77_joined": ("banking77", "joined", "test"),
    "clinc150_two": ("clinc150", "two", "test"),
    "intents_joined": ("intents", "joined", None),
    "intents_two": ("intents", "two", None),
    "snips_joined": ("snips", "joined", None),
}
REPORTED = ("banking77_joined", "clinc150_two")
SHOTS, POOL, ASKED = (1, 2, 5, 16), 40, 200
METRICS = ("ranking", "micro", "macro")
ROWS = ("meta_text", "minilm", "minilm at best", "both", "both at best")
UNLABELLED = "and unlabelled"
Row = tuple[str, frozenset[str]]


def rows_of(name: str) -> tuple[str, dict[str, list[Row]]]:
    """How texts get several labels, and each class's texts with their labels."""
    corpus_name, kind, part = SETTINGS[name]
    corpus = Corpus.open(corpus_name)
    classes = corpus.class_names if part is None else getattr(corpus.class_splits["1"], part)
    found = {}
    for class_name in classes:
        first = {fold(corpus.texts[row]): row for row in reversed(corpus.rows_of(class_name))}
        rows = np.random.default_rng(len(found)).permutation(sorted(first.values()))[:POOL]
        more = [{f"domain {corpus.fields['domain'][row]}"} if kind == "two" else set() for row in rows]
        found[class_name] = [
            (corpus.texts[row], frozenset({class_name} | one)) for row, one in zip(rows, more, strict=True)
        ]
    return kind, found


def joined(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """Two thirds of the texts in pairs of different classes, the others alone."""
    waiting = [rows[i] for i in rng.permutation(len(rows))]
    pairs: list[Row] = []
    while len(pairs) < len(rows) // 3:
        text, labels = waiting.pop()
        partner = next((i for i in reversed(range(len(waiting))) if waiting[i][1] != labels), None)
        if partner is None:
            waiting.append((text, labels))
            break
        other, others = waiting.pop(partner)
        pairs.append((f"{text} {other}", labels | others))
    return pairs + waiting


def draw(kind: str, by_class: dict[str, list[Row]], shots: int, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Texts to learn from, texts to ask, and others, of which none is among the others."""
    rng = np.random.default_rng([seed, 19])
    order = {name: [rows[i] for i in rng.permutation(len(rows))] for name, rows in by_class.items()}
    each = max(2, round((1.5 if kind == "joined" else 1) * ASKED / len(order)))
    each = min(each, POOL - max(SHOTS))  # of few classes
    known = [row for rows in order.values() for row in rows[each : each + shots]]
    asked = [row for rows in order.values() for row in rows[:each]]
    rest = [row for rows in order.values() for row in rows[each + max(SHOTS) :]]
    if kind == "two":
        return known, asked, rest
    return joined(known, np.random.default_rng([seed, shots])), joined(asked, rng), joined(rest, rng)


def scores(has: np.ndarray, values: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """In percent."""
    return {
        "ranking": 100 * float(label_ranking_average_precision_score(has, values)),
        "micro": 100 * float(f1_score(has, given, average="micro", zero_division=0)),
        "macro": 100 * float(f1_score(has, given, average="macro", zero_division=0)),
    }


def best_threshold(has: np.ndarray, values: np.ndarray) -> float:
    """That with the best micro-F1 on these very texts."""
    order = np.argsort(-values, axis=None)
    hits = np.cumsum(has.ravel()[order])
    return float(values.ravel()[order][np.argmax(2 * hits / (np.arange(1, len(hits) + 1) + has.sum()))])


def measure(
    model: MetaModel, encoders: Sequence[Remembered], known: list[Row], asked: list[Row], rest: list[Row]
) -> dict[str, Any]:
    """Scores of every method; of the default with unlabelled texts, too, if there are any."""
    texts, queries = [text for text, _ in known], [text for text, _ in asked]
    labels = sorted({label for _, own in known for label in own})
    learned, has = (np.array([[label in own for label in labels] for _, own in part]) for part in (known, asked))
    started = time.perf_counter()
    classifier = MultiLabelFewShotClassifier(model).fit(texts, [sorted(own) for _, own in known])
    seconds = time.perf_counter() - started
    probabilities = classifier.predict_proba(queries)
    found: dict[str, Any] = {
        "meta_text": scores(has, probabilities, probabilities >= classifier.thresholds_) | {"seconds": seconds}
    }
    if rest:
        classifier.fit(texts, [sorted(own) for _, own in known], unlabeled=[text for text, _ in rest])
        probabilities = classifier.predict_proba(queries)
        found[UNLABELLED] = scores(has, probabilities, probabilities >= classifier.thresholds_) | {"texts": len(rest)}
    blocks = {e.name: centred(e.matrix(texts), e.matrix(queries)) for e in encoders if not e.is_counts}
    blocks["both"] = (np.hstack([b[0] for b in blocks.values()]), np.hstack([b[1] for b in blocks.values()]))
    for name in ("minilm", "both"):
        one = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
        started = time.perf_counter()
        values = OneVsRestClassifier(one).fit(blocks[name][0], learned).decision_function(blocks[name][1])
        found[name] = scores(has, values, values > 0) | {"seconds": time.perf_counter() - started}
        found[f"{name} at best"] = scores(has, values, values >= best_threshold(has, values))
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over draws, and by how much `meta_text` is ahead, paired, with intervals."""
    groups: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["setting"], row["shots"]].append(row["found"])
    lines = ["| setting | K | method | ranking | micro-F1 | macro-F1 | meta_text is ahead by |", "| --- " * 7 + "|"]
    for (setting, shots), group in groups.items():
        for method in ROWS:
            cells = [f"{fmean(one[method][metric] for one in group):.1f}" for metric in METRICS]
            gaps = [np.array([one["meta_text"][m] - one[method][m] for one in group]) for m in METRICS]
            ahead = "" if method == "meta_text" else ", ".join(map(with_interval, gaps))
            lines.append(f"| {setting} | {shots} | {method} | {' | '.join(cells)} | {ahead} |")
    return "\n".join(lines)


def table_of_unlabelled(rows: Sequence[dict[str, Any]]) -> str:
    """What unlabelled texts add in the mean over draws, paired, with intervals."""
    groups: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if UNLABELLED in row["found"]:
            groups[row["setting"], row["shots"]].append(row["found"])
    lines = [
        "| setting | unlabelled | K | ranking | micro-F1 | macro-F1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (setting, shots), group in groups.items():
        gains = [np.array([one[UNLABELLED][m] - one["meta_text"][m] for one in group]) for m in METRICS]
        texts = f"{fmean(one[UNLABELLED]['texts'] for one in group):.0f}"
        lines.append(f"| {setting} | {texts} | {shots} | {' | '.join(map(with_interval, gains))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=REPORTED, choices=list(SETTINGS))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("runs/several_labels.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["setting"], row["shots"], row["draw"]) for row in rows}
    encoders = [Remembered(encoder) for encoder in open_encoders("auto")]
    for name in options.only:
        model = load_model(DEFAULT, encoders)
        if name.startswith("clinc150"):  # the default's prior was learned on it, among others
            model = model.with_findings(prior=Prior())
        kind, by_class = rows_of(name)
        for seed in range(options.draws):
            for shots in [shots for shots in SHOTS if (name, shots, seed) not in done]:
                known, asked, rest = draw(kind, by_class, shots, seed)
                found = measure(model, encoders, known, asked, rest if options.unlabelled else [])
                rows.append({"setting": name, "shots": shots, "draw": seed, "found": found})
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    rows = [row for row in rows if row["setting"] in options.only]
    print(table(rows))
    if options.unlabelled:
        print(table_of_unlabelled(rows))


if __name__ == "__main__":
    main()
