"""What a student keeps of its teacher's gain: MiniLM alone, the default mixture, and a student of it, on the same labels.

    META_TEXT_DATA=DIR python benchmarks/accuracy/student.py [--only banking77 ...] [--draws 3] [--json runs/student.jsonl] [--time]

All classes of a corpus at once, K labels for each; a third of the rest is asked, up to 400, and the student is taught on the
others. "fast" is MiniLM alone, "unlabelled" the same with the texts that the student was taught on, `fit(unlabeled=...)`. One
line of JSON for each corpus, K and draw, with accuracy in percent, negative log-likelihood, calibration error, and what
reject=0.05 refuses of the texts asked and of texts of another corpus, in percent; lines that stand in the file are not
measured again. --time: seconds for 1,000 texts of the first corpus, teacher and student in turns.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from development import texts_and_labels
from unlabelled import OTHERS, split

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.calibration import calibration_error
from meta_text.model.model import MetaModel
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

CORPORA = ("banking77", "clinc150", "intents", "snips", "sst2", "mr", "tweet_sentiment", "tweet_offensive")
SHOTS = (5, 16)
METHODS = ("fast", "unlabelled", "mixture", "student")
STRANGERS, RATE, TIMES = 200, 0.05, 5


def measure(
    models: tuple[MetaModel, MetaModel],
    texts: Sequence[str],
    labels: np.ndarray,
    rows: tuple[np.ndarray, ...],
    strangers: Sequence[str],
) -> dict[str, Any]:
    """Answers of all methods to the same texts; models: of MiniLM alone, and of all encoders."""
    known, asked, pool = ([texts[row] for row in part] for part in rows)
    targets = labels[rows[1]]
    mixture = FewShotClassifier(models[1]).fit(known, labels[rows[0]])
    fast = FewShotClassifier(models[0]).fit(known, labels[rows[0]])
    fitted = {
        "fast": fast,
        "unlabelled": FewShotClassifier(models[0]).fit(known, labels[rows[0]], unlabeled=pool),
        "mixture": mixture,
        "student": mixture.distill(pool),
    }
    found: dict[str, Any] = {"pool": len(pool)}
    for name, classifier in fitted.items():
        probabilities = classifier.predict_proba(asked)
        columns = np.searchsorted(classifier.classes_, targets)
        right = probabilities.argmax(1) == columns
        refused, strange = (
            100 * float(np.mean([label is None for label in classifier.predict(some, reject=RATE)]))
            for some in (asked, strangers)
        )
        found[name] = {
            "accuracy": 100 * float(right.mean()),
            "loss": float(-np.log(probabilities[np.arange(len(columns)), columns].clip(1e-12)).mean()),
            "error": calibration_error(probabilities.max(1), right),
            "refused": refused,
            "strangers": strange,
        }
    lesson = fitted["student"].adaptation_.lesson
    assert lesson is not None
    found["agreement"] = 100 * lesson.alike / lesson.apart
    return found


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Means over draws, and over corpora; kept: the student's gain over MiniLM alone, of the mixture's."""
    groups: defaultdict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["shots"], row["corpus"]].append(row)
    lines = [
        "| K | corpus | fast | unlabelled | mixture | student | kept | agreement | log-likelihood | calibration error | refused | "
        "strangers refused |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for shots in SHOTS:
        listed = [group for (k, _), group in groups.items() if k == shots]
        for group in listed:
            lines.append(_line(shots, group[0]["corpus"], group))
        if listed:
            lines.append(_line(shots, f"**mean of {len(listed)}**", [row for group in listed for row in group]))
    return "\n".join(lines)


def _line(shots: int, name: str, group: Sequence[dict[str, Any]]) -> str:
    def mean(key: str, methods: Sequence[str] = ("fast", "mixture", "student")) -> list[float]:
        return [fmean(row[method][key] for row in group) for method in methods]

    fast, mixture, student = mean("accuracy")
    kept = f"{100 * (student - fast) / (mixture - fast):.0f} %" if mixture - fast > 1 else ""
    cells = [
        str(shots),
        name,
        *(f"{value:.1f}" for value in mean("accuracy", METHODS)),
        kept,
        f"{fmean(row['agreement'] for row in group):.0f} %",
        " / ".join(f"{-value:.2f}" for value in mean("loss")),
        " / ".join(f"{value:.3f}" for value in mean("error")),
        " / ".join(f"{value:.1f}" for value in mean("refused")),
        " / ".join(f"{value:.0f}" for value in mean("strangers")),
    ]
    return f"| {' | '.join(cells)} |"


def timed(texts: Sequence[str], labels: np.ndarray, shots: int) -> str:
    """Seconds for 1,000 texts, as they are asked without and with reject: the median of TIMES, teacher and student in turns."""
    rows = split(labels, shots, "alike", 0)
    assert rows is not None
    known, asked, pool = ([texts[row] for row in part] for part in rows)
    teacher = FewShotClassifier(embedding="auto").fit(known, labels[rows[0]])
    both = {"mixture": teacher, "student": teacher.distill(pool[:400])}
    seconds: defaultdict[tuple[str, float | None], list[float]] = defaultdict(list)
    for _ in range(TIMES):
        for rate in (None, RATE):
            for name, classifier in both.items():
                start = time.perf_counter()
                classifier.predict(asked, reject=rate)
                seconds[name, rate].append(1000 * (time.perf_counter() - start) / len(asked))
    return "\n".join(f"{name}, reject={rate}: {median(found):.1f} s" for (name, rate), found in seconds.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("runs/student.jsonl"))
    parser.add_argument("--time", action="store_true", help="measure seconds and nothing else")
    options = parser.parse_args()
    if options.time:
        print(timed(*texts_and_labels(options.only[0]), shots=SHOTS[0]))
        return
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.touch()
    rows = [json.loads(line) for line in options.json.read_text("utf-8").splitlines()]
    done = {(row["corpus"], row["shots"], row["draw"]) for row in rows}
    encoders = [Remembered(encoder) for encoder in open_encoders("auto")]
    models = load_model(DEFAULT, encoders[:1]), load_model(DEFAULT, encoders)
    for name in options.only:
        texts, labels = texts_and_labels(name)
        strangers = texts_and_labels(OTHERS.get(name, "snips"))[0][:STRANGERS]
        for shots in SHOTS:
            for seed in [seed for seed in range(options.draws) if (name, shots, seed) not in done]:
                drawn = split(labels, shots, "alike", seed)
                if drawn is None:
                    break
                rows.append({"corpus": name, "shots": shots, "draw": seed})
                rows[-1] |= measure(models, texts, labels, drawn, strangers)
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
