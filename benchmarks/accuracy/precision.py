"""What lower precision costs: the default model's accuracy in every precision of this machine, on identical draws.

META_TEXT_DATA=DIR python benchmarks/accuracy/precision.py [--draws 10]
"""

import argparse
import os
from statistics import fmean

import numpy as np
from scipy.stats import t

from meta_text import Corpus, FewShotClassifier
from meta_text.embedding.precision import VARIABLE, available
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

MOST_ASKED = 1000  # texts per corpus, drawn by seed
SHOTS = {"banking77": 5, "data/intents": 5, "sst2": 16, "tweet_offensive": 16}


def draw(corpus: Corpus, shots: int, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn from, `shots` per class, and rows to classify."""
    rng = np.random.default_rng([seed, shots])
    order = [rng.permutation(corpus.rows_of(name)) for name in corpus.class_names]
    rest = rng.permutation(np.concatenate([rows[shots:] for rows in order]))
    return [int(row) for rows in order for row in rows[:shots]], rest[:MOST_ASKED].tolist()


def accuracies(name: str, engine: str, draws: int) -> list[float]:
    """One accuracy per draw; texts are read in batches, as for users."""
    os.environ[VARIABLE] = engine
    corpus, model = Corpus.open(name), load_model(DEFAULT)
    values = []
    for seed in range(draws):
        known, asked = draw(corpus, SHOTS[name], seed)
        classifier = FewShotClassifier(model)
        classifier.fit([corpus.texts[i] for i in known], [corpus.labels[i] for i in known])
        assert engine in classifier.meta_model.engine_note
        answers = classifier.predict([corpus.texts[i] for i in asked])
        values.append(float((answers == np.array([corpus.labels[i] for i in asked])).mean()))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    draws = parser.parse_args().draws
    engines = [engine for engine in available() if engine != "training"]
    print("| corpus | labels per class | " + " | ".join(engines) + " | differences to float32, 95 % intervals |")
    print("| --- " * (len(engines) + 3) + "|")
    for name, shots in SHOTS.items():
        rows = {engine: accuracies(name, engine, draws) for engine in engines}
        means = [f"{100 * fmean(values):.2f}" for values in rows.values()]
        against = []
        for engine in engines[1:]:
            gaps = 100 * (np.array(rows[engine]) - np.array(rows["float32"]))
            half = t.ppf(0.975, draws - 1) * gaps.std(ddof=1) / draws**0.5
            against.append(f"{gaps.mean():+.2f} ± {half:.2f}")
        print(f"| {name} | {shots} | {' | '.join(means)} | {', '.join(against)} |", flush=True)


if __name__ == "__main__":
    main()
