"""The default against logistic regression on frozen encoders: all classes of a corpus at once, K labels for each.

    META_TEXT_DATA=DIR python benchmarks/accuracy/development.py MODEL [--only banking77 ...] [--json runs/development.jsonl]

MODEL is a folder of `meta-text train recipes/default.toml`. For each corpus the prior of the encoders' weights is
learned anew from the recipe's other corpora. One line of JSON for each corpus, K and draw; `development_table.py` sums up.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from meta_text import Corpus, FewShotClassifier
from meta_text.config import load_recipe
from meta_text.corpus.same_text import fold
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.evaluation.metrics import ExpectedCalibrationError
from meta_text.model.mixture import Prior
from meta_text.saving.model_folder import load_model
from meta_text.training.bench import Bench
from meta_text.training.fit_prior import cases_of, corpus_centres, mean_centres, prior_of
from meta_text.training.progress import Progress

CORPORA = [
    "banking77",
    "clinc150",
    "intents",
    "snips",
    "sst2",
    "mr",
    "sentiment",
    "tweet_irony",
    "tweet_offensive",
    "tweet_sentiment",
    "medical",
    "csldcp",
]
SHOTS = (1, 5, 16)
MOST_TEXTS, MOST_ASKED = 300, 500  # texts of each class that are drawn from; texts asked


def texts_and_labels(name: str) -> tuple[list[str], np.ndarray]:
    """A corpus's texts, each once, at most MOST_TEXTS of each class."""
    corpus = Corpus.open(name)
    corpus = corpus.thinned(corpus.class_names, MOST_TEXTS, seed=0)
    first = {fold(text): row for row, text in reversed(list(enumerate(corpus.texts)))}
    rows = sorted(first.values())
    return [corpus.texts[row] for row in rows], np.array([corpus.labels[row] for row in rows])


def draw(labels: np.ndarray, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to ask."""
    rng = np.random.default_rng([seed, shots])
    order = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rest = rng.permutation(np.concatenate([rows[shots:] for rows in order]))
    return np.concatenate([rows[:shots] for rows in order]), rest[:MOST_ASKED]


def centred(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors less the mean of those learned from, at length 1: better than as they come, most of all for e5."""
    middle = known.mean(0)

    def unit(rows: np.ndarray) -> np.ndarray:
        moved = rows - middle
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-9))

    return unit(known), unit(asked)


def rivals(
    encoders: Sequence[Remembered], texts: Sequence[str], asked: Sequence[str], labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Probabilities of logistic regression (C = 10) on each reading encoder, on both, and on n-grams of letters."""
    blocks = {e.name: centred(e.matrix(texts), e.matrix(asked)) for e in encoders if not e.is_counts}
    blocks["both"] = (np.hstack([b[0] for b in blocks.values()]), np.hstack([b[1] for b in blocks.values()]))
    answers = {}
    for name, (known, queries) in blocks.items():
        answers[f"lr_{name}"] = LogisticRegression(C=10, max_iter=1000).fit(known, labels).predict_proba(queries)
    counted = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    return answers | {"lr_letters": counted.fit(texts, labels).predict_proba(asked)}


def scores(probabilities: np.ndarray, targets: np.ndarray) -> list[float]:
    """Accuracy and calibration error."""
    ece = ExpectedCalibrationError().compute(predictions=[probabilities.tolist()], references=[targets.tolist()])
    return [float((probabilities.argmax(1) == targets).mean()), float(ece["ece"])]


def priors() -> Callable[[str], Prior]:
    """For the name of a corpus: the prior that all corpora of the default's recipe but that one teach."""
    bench = Bench.open(load_recipe("default"), Progress())
    names = bench.embedded.blocks.names
    class_names = (*bench.split.train, *bench.split.validation)
    centres = corpus_centres(bench.embedded, class_names)
    cases = cases_of(bench.embedded, class_names, Prior(centres=mean_centres(centres)))

    def without(corpus: str) -> Prior:
        others = {name: means for name, means in centres.items() if name != corpus}
        prior = prior_of([shape for shape in cases if shape[0].corpus != corpus], names)
        return replace(prior, centres=mean_centres(others))

    return without


def measure(
    name: str, folder: Path, prior: Prior, before: Path | None, draws: int, shots: Sequence[int]
) -> list[dict[str, Any]]:
    texts, labels = texts_and_labels(name)
    encoders = [Remembered(encoder) for encoder in open_encoders("auto")]
    model = load_model(folder, encoders).with_findings(prior=prior)
    fast = load_model(folder, [e for e in encoders if e.name == "minilm"])
    trained = name in (model.recipe.corpus.name, *model.recipe.corpus.also)
    rows = []
    for k in [k for k in shots if k < min(np.bincount(labels))]:
        for seed in range(draws):
            known, asked = draw(labels, k, seed)
            given, queries = [texts[row] for row in known], [texts[row] for row in asked]
            answers = rivals(encoders, given, queries, labels[known])
            classifiers = {"default": FewShotClassifier(model), "fast": FewShotClassifier(fast)}
            if before is not None:
                classifiers["before"] = FewShotClassifier(str(before))
            for label, classifier in classifiers.items():
                answers[label] = classifier.fit(given, labels[known]).predict_proba(queries)
            task = classifiers["default"].adaptation_.task
            row: dict[str, Any] = {"corpus": name, "n_way": len(np.unique(labels)), "k_shot": k, "draw": seed}
            row["trained"] = trained  # the rule and the calibration saw this corpus, the prior did not
            row["weights"] = dict(zip(model.embedding.names, task["weights"].tolist(), strict=True))
            row["scores"] = {label: scores(p, labels[asked]) for label, p in answers.items()}
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--before", type=Path, help="a saved classifier model to compare with")
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--shots", type=int, nargs="*", default=SHOTS)
    parser.add_argument("--json", type=Path, default=Path("runs/development.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    prior_without = priors()
    with options.json.open("a", encoding="utf-8") as file:
        for name in options.only:
            prior = prior_without(name)
            for row in measure(name, options.model, prior, options.before, options.draws, options.shots):
                file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
