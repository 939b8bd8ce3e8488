"""How often `drift` says to label again: where texts are as at fit, and where some are of classes that are new.

    META_TEXT_DATA=DIR python benchmarks/accuracy/drift.py [--only banking77 ...] [--draws 3]

A fifth of a corpus's classes are left out, K texts of each other one are labelled. Reports are on TEXTS texts each: of known
classes alone, and with 10, 20 and 40 % from the classes left out. With unlabelled texts, POOL of known classes were given to
`fit`. In percent of reports; those on texts of known classes alone are false alarms.
"""

import argparse
from collections import defaultdict
from statistics import fmean

import numpy as np

from meta_text import FewShotClassifier
from meta_text.classify.drift import drift, reference_of, tallies
from meta_text.classify.tally import total
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.model.model import MetaModel
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

from development import texts_and_labels  # isort: skip

CORPORA = ("banking77", "clinc150", "intents", "snips", "sentiment", "tweet_sentiment", "medical")
SHOTS, NEW = (5, 16), (0.0, 0.1, 0.2, 0.4)
TEXTS, REPORTS = 200, 5  # of each kind in each draw
POOL, RATE = 400, 0.05
MOST_CLASSES, MOST_OF_EACH = 30, 120


def reports(model: MetaModel, name: str, shots: int, seed: int) -> dict[tuple[bool, float], float]:
    """The share of reports that say to label again, by whether there were unlabelled texts and how many texts were of new classes."""
    texts, labels = texts_and_labels(name)
    rng = np.random.default_rng([seed, shots, 67])
    classes = rng.permutation(np.unique(labels))[:MOST_CLASSES]
    n_new = max(1, len(classes) // 5)
    rows = {one: rng.permutation(np.flatnonzero(labels == one))[:MOST_OF_EACH] for one in classes}
    known = np.concatenate([rows[one][:shots] for one in classes[n_new:]])
    rest = rng.permutation(np.concatenate([rows[one][shots:] for one in classes[n_new:]]))
    new = np.concatenate([rows[one] for one in classes[:n_new]])
    pool, asked = np.split(rest, [min(POOL, len(rest) // 2)])
    found = {}
    for has_pool in (False, True):
        unlabelled = [texts[row] for row in pool] if has_pool else None
        given, own = [texts[row] for row in known], [str(labels[row]) for row in known]
        adapted = FewShotClassifier(model).fit(given, own, unlabeled=unlabelled).adaptation_
        reference = reference_of(adapted, RATE)
        for share in NEW:
            said = []
            for _ in range(REPORTS):
                n_texts = min(TEXTS, len(asked))
                n_strange = min(round(share * n_texts), len(new))
                chosen = [
                    *rng.choice(asked, n_texts - n_strange, replace=False),
                    *rng.choice(new, n_strange, replace=False),
                ]
                now = total(list(tallies(adapted, [texts[row] for row in chosen], RATE)), adapted.n_way)
                said.append(bool(drift(adapted, now, RATE, reference).label_again))
            found[has_pool, share] = 100 * fmean(said)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA, choices=CORPORA)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    heads = [f"{100 * share:.0f} % new" for share in NEW]
    print(f"| corpus | K | unlabelled texts | {' | '.join(heads)} |\n| --- | ---: | --- |{' ---: |' * len(NEW)}")
    over: defaultdict[tuple[bool, float], list[float]] = defaultdict(list)
    for name in options.only:
        for shots in SHOTS:
            draws = [reports(model, name, shots, seed) for seed in range(options.draws)]
            for has_pool in (False, True):
                means = [fmean(one[has_pool, share] for one in draws) for share in NEW]
                for share, mean in zip(NEW, means, strict=True):
                    over[has_pool, share].append(mean)
                cells = " | ".join(f"{mean:.0f}" for mean in means)
                print(f"| {name} | {shots} | {'yes' if has_pool else 'no'} | {cells} |", flush=True)
    for has_pool in (False, True):
        cells = " | ".join(f"{fmean(over[has_pool, share]):.1f}" for share in NEW)
        print(f"| mean | | {'yes' if has_pool else 'no'} | {cells} |")


if __name__ == "__main__":
    main()
