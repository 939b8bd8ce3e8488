"""Tests FewShotClassifier on whole corpora: all classes of BANKING77 at once, "none of these" on CLINC150, and SST-2.

META_TEXT_DATA=DIR python benchmarks/accuracy/all_at_once.py [MODEL] [--only banking|unknown|sentiment]
"""

import argparse
from statistics import fmean

import numpy as np
from scipy.stats import t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import stack
from torch.nn.functional import normalize

from meta_text import Corpus, Embedding, FewShotClassifier
from meta_text.evaluation.metrics import ExpectedCalibrationError
from meta_text.model.adaptation import Adaptation


def draw(corpus: Corpus, partition: str, shots: int, seed: int) -> tuple[list[str], list[str]]:
    """Draws `shots` texts per class from one file of the corpus; returns texts and labels."""
    rng = np.random.default_rng([seed, shots])
    texts, labels = [], []
    for name in corpus.class_names:
        rows = [row for row in corpus.rows_of(name) if corpus.fields["file"][row] == partition]
        for row in rng.choice(rows, shots, replace=False):
            texts.append(corpus.texts[row])
            labels.append(name)
    return texts, labels


def banking(model: str, draws: int = 10) -> None:
    """Prints accuracy and calibration error on the official test file, with all 77 classes and K labels per class.

    `FewShotClassifier` is compared with logistic regression on frozen MiniLM and on the model's own features, and with
    the nearest prototype of these features, which is ProtoNet on the same encoder. Logistic regression gets each class
    name as one more text.
    """
    corpus = Corpus.open("banking77")
    rows = [row for row, file in enumerate(corpus.fields["file"]) if file == "test"]
    asked, truth = [corpus.texts[row] for row in rows], np.array([corpus.labels[row] for row in rows])
    learned, frozen = FewShotClassifier.from_pretrained(model).meta_model, Embedding.transformer(max_tokens=64)
    parts, plain = learned.represent(asked)[0], _sentence_vectors(frozen, asked)
    own = stack(parts).numpy()
    for label_names in (False, True):
        for shots in (1, 5, 10):
            accuracies: dict[str, list[float]] = {}
            ece = []
            for seed in range(draws):
                texts, labels = draw(corpus, "train", shots, seed)
                adapted = FewShotClassifier(model, label_names=label_names).fit(texts, labels).adaptation_
                scores = adapted.score(parts)
                ece.append(_calibration_error(adapted.probabilities(scores), truth))
                targets = [corpus.class_index(label) for label in labels]
                if label_names:
                    texts = texts + [corpus.label_text(name) for name in corpus.class_names]
                    targets = targets + list(range(len(corpus.class_names)))
                prototypes = adapted.task["prototypes"].cpu().numpy()
                answers = {
                    "logistic regression, frozen": _regression(_sentence_vectors(frozen, texts), targets, plain),
                    "logistic regression, trained": _regression(
                        stack(learned.represent(texts)[0]).numpy(), targets, own
                    ),
                    "nearest prototype, trained": (2 * own @ prototypes.T - (prototypes**2).sum(1)).argmax(1),
                    "FewShotClassifier": scores.argmax(1).numpy(),
                }
                for kind, answer in answers.items():
                    accuracies.setdefault(kind, []).append(float((answer == truth).mean()))
            print(f"BANKING77 77-way {shots:2d} labels, names {label_names!s:5}, {draws} draws, ECE {fmean(ece):.3f}:")
            for kind, values in accuracies.items():
                print(f"  {kind:28} {_spread(values)}  {_difference(accuracies['FewShotClassifier'], values)}")


def _regression(vectors: np.ndarray, targets: list[int], asked: np.ndarray) -> np.ndarray:
    return LogisticRegression(C=30, max_iter=1000).fit(vectors, targets).predict(asked)


def _calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    result = ExpectedCalibrationError().compute(predictions=[probabilities.tolist()], references=[truth.tolist()])
    return float(result["ece"])


def _spread(values: list[float]) -> str:
    return f"{100 * fmean(values):.1f} (std over draws {100 * np.std(values):.1f})"


def _difference(ours: list[float], theirs: list[float]) -> str:
    """The mean difference with its 95 % interval over draws; empty if both are the same."""
    points = 100 * (np.array(ours) - np.array(theirs))
    if not points.any():
        return ""
    half = t.ppf(0.975, len(points) - 1) * points.std(ddof=1) / len(points) ** 0.5
    return f"FewShotClassifier {points.mean():+.2f} ± {half:.2f}"


def unknown(model: str, draws: int = 5) -> None:
    """Prints how well out-of-scope texts are separated from those of 150 classes, with 10 labels per class."""
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
        f"at a stated false-reject rate of 5 %: actually {100 * fmean(refused):.1f} %, catching {100 * fmean(recall):.1f} %"
    )


def sentiment(model: str, draws: int = 20) -> None:
    """Prints accuracy on SST-2's test file after K labels per class, next to logistic regression on frozen MiniLM."""
    corpus = Corpus.open("sst2")
    rows = [row for row, file in enumerate(corpus.fields["file"]) if file == "test"]
    asked, truth = [corpus.texts[row] for row in rows], np.array([corpus.labels[row] for row in rows])
    learned = FewShotClassifier.from_pretrained(model).meta_model
    parts = learned.represent(asked)[0]
    frozen = Embedding.transformer(max_tokens=96)
    plain = _sentence_vectors(frozen, asked)
    for shots in (5, 16):
        accuracies: dict[str, list[float]] = {"logistic regression, frozen MiniLM": [], "no names": [], "names": []}
        for seed in range(draws):
            texts, labels = draw(corpus, "train", shots, seed)
            targets = [corpus.class_index(label) for label in labels]
            regression = LogisticRegression(C=30, max_iter=1000).fit(_sentence_vectors(frozen, texts), targets)
            accuracies["logistic regression, frozen MiniLM"].append(regression.score(plain, truth))
            for label_names in (False, True):
                adapted: Adaptation = FewShotClassifier(model, label_names=label_names).fit(texts, labels).adaptation_
                right = adapted.score(parts).argmax(1).numpy() == truth
                accuracies["names" if label_names else "no names"].append(float(right.mean()))
        for kind, values in accuracies.items():
            print(
                f"SST-2, {shots:2d} labels per class, {kind}: accuracy {100 * fmean(values):.1f} "
                f"(std over {draws} draws {100 * np.std(values):.1f})"
            )


def _sentence_vectors(embedding: Embedding, texts: list[str]) -> np.ndarray:
    """The mean token state of each text, scaled to unit length."""
    return np.stack([normalize(part.mean(0), dim=-1).numpy() for part in embedding.encode(texts)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="default")
    kinds = {"banking": banking, "unknown": unknown, "sentiment": sentiment}
    parser.add_argument("--only", choices=kinds, action="append")
    arguments = parser.parse_args()
    for kind in arguments.only or kinds:
        kinds[kind](arguments.model)


if __name__ == "__main__":
    main()
