"""How near the credits of `FewShotClassifier.explain` are to full Shapley values of the same answers.

    python benchmarks/accuracy/explanations.py [--texts 40]

Ten intents of `data/intents` with five labels each; texts of 7 to 10 words that were not labelled. All sets of a text's words are
answered once, and the Shapley value is the sum over them by its definition. Beside `explain`: the average of what a word adds to
no other word and to all others, shifted to the same sum, from 2 n answers; and what a word adds to all others alone.
"""

import argparse
from collections.abc import Sequence
from math import factorial

import numpy as np

from meta_text import FewShotClassifier
from meta_text.classify.explain import fit_credits, log_odds, word_sets

from development import texts_and_labels  # isort: skip

CLASSES, SHOTS, MOST_CALLS = 10, 5, 64


def values(classifier: FewShotClassifier, words: Sequence[str]) -> np.ndarray:
    """Log-odds of the whole text's class for each set of its words, by the set's binary number; the first of none."""
    sets = [" ".join(word for i, word in enumerate(words) if number >> i & 1) for number in range(1, 2 ** len(words))]
    probabilities = classifier.predict_proba(sets)
    column = int(probabilities[-1].argmax())
    return np.concatenate([[-np.log(CLASSES - 1)], log_odds(probabilities, column)])


def shapley(of: np.ndarray, n: int) -> np.ndarray:
    credits = np.zeros(n)
    for number in range(2**n):
        size = number.bit_count()
        for i in range(n):
            if not number >> i & 1:
                share = factorial(size) * factorial(n - size - 1) / factorial(n)
                credits[i] += share * (of[number | 1 << i] - of[number])
    return credits


def estimated(of: np.ndarray, n: int) -> np.ndarray:
    """As `explain` does, from 64 of the sets."""
    sets, weights = word_sets(n, MOST_CALLS)
    return fit_credits(sets, weights, of[sets @ (1 << np.arange(n))] - of[0], float(of[-1] - of[0]))


def both_ends(of: np.ndarray, n: int) -> np.ndarray:
    alone = of[1 << np.arange(n)] - of[0]
    half = (alone + left_out(of, n)) / 2
    return half + (of[-1] - of[0] - half.sum()) / n


def left_out(of: np.ndarray, n: int) -> np.ndarray:
    return of[-1] - of[2**n - 1 - (1 << np.arange(n))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=40)
    options = parser.parse_args()
    texts, labels = texts_and_labels("intents")
    draw = np.random.default_rng(0)
    classes = draw.permutation(np.unique(labels))[:CLASSES]
    rows = [draw.permutation(np.flatnonzero(labels == one)) for one in classes]
    known = np.concatenate([part[:SHOTS] for part in rows])
    classifier = FewShotClassifier().fit([texts[row] for row in known], labels[known])
    asked = [texts[row] for row in draw.permutation(np.concatenate([part[SHOTS:] for part in rows]))]
    asked = [text for text in asked if 7 <= len(text.split()) <= 10][: options.texts]
    found: dict[str, list[tuple[float, bool]]] = {"explain": [], "both ends": [], "leave one out": []}
    for text in asked:
        n, of = len(text.split()), values(classifier, text.split())
        exact = shapley(of, n)
        for name, method in zip(found, (estimated, both_ends, left_out), strict=True):
            credits = method(of, n)
            correlation = float(np.corrcoef(credits, exact)[0, 1])
            found[name].append((correlation, int(np.abs(credits).argmax()) == int(np.abs(exact).argmax())))
    print(f"{len(asked)} texts")
    for name, pairs in found.items():
        correlations, same = np.array(pairs, dtype=float).T
        print(f"{name}: correlation {correlations.mean():.3f}, same strongest word in {100 * same.mean():.0f} %")


if __name__ == "__main__":
    main()
