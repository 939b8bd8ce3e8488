"""FewShotClassifier on whole corpora: all categories of BANKING77 at once, and "none of these" on CLINC150.

META_TEXT_DATA=DIR python recipes/all_at_once.py [MODEL]
"""

import sys
from statistics import fmean

import numpy as np
from sklearn.metrics import roc_auc_score

from meta_text import Corpus, FewShotClassifier
from meta_text.adaptation import Adaptation
from meta_text.evaluation import ExpectedCalibrationError


def draw(corpus: Corpus, partition: str, shots: int, seed: int) -> tuple[list[str], list[str]]:
    """`shots` texts of each class from one file of the corpus."""
    rng = np.random.default_rng([seed, shots])
    texts, labels = [], []
    for name in corpus.class_names:
        rows = [row for row in corpus.rows_of(name) if corpus.fields["file"][row] == partition]
        for row in rng.choice(rows, shots, replace=False):
            texts.append(corpus.texts[row])
            labels.append(name)
    return texts, labels


def banking(model: str, draws: int = 5) -> None:
    """Accuracy and calibration error over the official test file, all 77 categories, K labels each."""
    corpus = Corpus.open("banking77")
    rows = [row for row, file in enumerate(corpus.fields["file"]) if file == "test"]
    asked = [corpus.texts[row] for row in rows]
    truth = np.array([corpus.labels[row] for row in rows])
    parts = FewShotClassifier.from_pretrained(model).meta_model.represent(asked)[0]
    for names in (False, True):
        for shots in (1, 5, 10):
            accuracy, ece = [], []
            for seed in range(draws):
                classifier = FewShotClassifier(model, label_names=names)
                classifier.fit(*draw(corpus, "train", shots, seed))
                adapted: Adaptation = classifier.adaptation_
                probabilities = adapted.probabilities(adapted.score(parts))
                accuracy.append(float((probabilities.argmax(1) == truth).mean()))
                found = ExpectedCalibrationError().compute(
                    predictions=[probabilities.tolist()], references=[truth.tolist()]
                )
                ece.append(found["ece"])
            print(
                f"BANKING77 77-way {shots:2d} labels, names {names!s:5}: accuracy {100 * fmean(accuracy):.1f} "
                f"(std over {draws} draws {100 * np.std(accuracy):.1f}), ECE {fmean(ece):.3f}"
            )


def unknown(model: str, draws: int = 5) -> None:
    """How well out-of-scope texts are told from those of 150 classes with 10 labels each."""
    corpus = Corpus.open("clinc150")
    rows = [row for row, file in enumerate(corpus.fields["file"]) if file == "test"]
    learned = FewShotClassifier.from_pretrained(model).meta_model
    inside = learned.represent([corpus.texts[row] for row in rows])[0]
    outside = learned.represent(list(corpus.out_of_scope))[0]
    auroc, recall, refused, accuracy = [], [], [], []
    for seed in range(draws):
        adapted = FewShotClassifier(model).fit(*draw(corpus, "train", 10, seed)).adaptation_
        scores = np.concatenate([adapted.likeness(inside), adapted.likeness(outside)])
        auroc.append(roc_auc_score([1] * len(inside) + [0] * len(outside), scores))
        recall.append(1 - adapted.is_known(outside, 0.05).mean())
        refused.append(1 - adapted.is_known(inside, 0.05).mean())
        accuracy.append(float((adapted.score(inside).argmax(1).numpy() == [corpus.labels[row] for row in rows]).mean()))
    print(
        f"CLINC150 150-way 10 labels: accuracy {100 * fmean(accuracy):.1f}, out of scope AUROC {fmean(auroc):.3f}, "
        f"at a stated false-reject rate of 5 %: really {100 * fmean(refused):.1f} %, catching {100 * fmean(recall):.1f} %"
    )


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "default"
    banking(chosen)
    unknown(chosen)
