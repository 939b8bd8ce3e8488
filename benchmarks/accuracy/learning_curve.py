"""How much more labels bring, against what `audit` expected of them, and the constant of that formula.

    META_TEXT_DATA=DIR python benchmarks/accuracy/learning_curve.py [--draws 2]

Tasks of 3, 6 and 12 classes (or all, where there are fewer) with K labels each; then K more are added. Each corpus's error is also
told with the constant that all other corpora give. A task of which the audit says nothing, for too few texts were checked, is left out.
"""

import argparse
from collections.abc import Iterator
from statistics import fmean

import numpy as np

from meta_text import FewShotClassifier
from meta_text.classify.learning_curve import RATE
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.model import MetaModel
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

from development import texts_and_labels  # isort: skip

CORPORA = (
    *("snips", "sst2", "mr", "tweet_sentiment", "tweet_offensive", "tweet_irony"),
    *("intents", "banking77", "clinc150", "sentiment", "medical", "csldcp"),
)
WAYS, SHOTS = (3, 6, 12), (2, 4, 8, 16)
MOST_ASKED = 60  # of each class


def measure(model: MetaModel, name: str, n_way: int, seed: int) -> Iterator[tuple[int, float, float]]:
    """K, the points that were expected of twice as many labels (NaN where the audit says nothing), and what these brought."""
    texts, labels = texts_and_labels(name)
    rng = np.random.default_rng([seed, n_way])
    classes = rng.permutation(np.unique(labels))[:n_way]
    rows = [rng.permutation(np.flatnonzero(labels == one)) for one in classes]
    asked = min(MOST_ASKED, min(map(len, rows)) // 3)
    expected, before = float("nan"), float("nan")
    for shots in (*SHOTS, 2 * SHOTS[-1]):
        if asked + shots > min(map(len, rows)):
            return
        known = np.concatenate([part[asked : asked + shots] for part in rows])
        classifier = FewShotClassifier(model).fit([texts[row] for row in known], labels[known])
        queries = np.concatenate([part[:asked] for part in rows])
        right = 100 * float((classifier.predict([texts[row] for row in queries]) == labels[queries]).mean())
        if shots > SHOTS[0]:
            yield shots // 2, expected, right - before
        expected, before = classifier.audit().growth.twice, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2)
    options = parser.parse_args()
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    found = [
        (name, *row)
        for name in CORPORA
        for n_way in sorted({min(n, len(set(texts_and_labels(name)[1]))) for n in WAYS})
        for seed in range(options.draws)
        for row in measure(model, name, n_way, seed)
    ]
    told = [row for row in found if not np.isnan(row[2])]
    print(f"{len(found)} tasks, {len(told)} of which the audit says what more labels bring")
    names, shots, expected, gained = (np.array(column) for column in zip(*told, strict=True))
    unit = expected / RATE
    rates = {name: fit(unit[names != name], gained[names != name]) for name in np.unique(names)}
    apart = np.array([abs(rates[name] * x - y) for name, x, y in zip(names, unit, gained, strict=True)])
    print("| K | tasks | expected | gained | apart | 8 in 10 within |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
    for k in np.unique(shots):
        is_k = shots == k
        print(
            f"| {k} | {is_k.sum()} | {expected[is_k].mean():.1f} | {gained[is_k].mean():.1f} | {apart[is_k].mean():.1f} | "
            f"{np.quantile(apart[is_k], 0.8):.1f} |"
        )
    print(
        f"constant of all {fit(unit, gained):.2f}, without one corpus {min(rates.values()):.2f} to {max(rates.values()):.2f}; apart "
        f"{fmean(apart):.1f}, 8 in 10 within {np.quantile(apart, 0.8):.1f}"
    )


def fit(unit: np.ndarray, gained: np.ndarray) -> float:
    """Least squares through the origin."""
    return float(unit @ gained / (unit @ unit))


if __name__ == "__main__":
    main()
