"""What a person does on the page, as plain functions: they take what is typed and raise MetaTextError for what cannot be done."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meta_text.classify.class_edits import ClassChange, Classes
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.input_rows import input_rows
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.read_rows import read_rows
from meta_text.corpus.same_text import fold
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.task import Label
from meta_text.shipped import shipped_folder
from meta_text.wording import are, counted

MOST_LABELLED, MOST_PILE, MOST_CHARACTERS = 2_000, 5_000, 20_000  # what one page takes; commands take more
EXAMPLES = 6  # sentences of each category in an example set
ASKED_NEXT = 10
DRAWS, MOST_ASKED = 5, 200  # of the accuracy with fewer labels
RATE = 0.05  # of texts that belong and are told to fit no category
FORMAT = "write one sentence per line, with its category in front: delivery: where is my parcel"


def read_lines(box: str) -> tuple[list[str], list[str]]:
    """Texts and categories of lines "category: sentence"; blank lines do not count.

    Raises InputError for a line without category or sentence, for less than two categories, and for too many lines.
    """
    lines = [(number, line.strip()) for number, line in enumerate(box.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"nothing is written yet; {FORMAT}")
    if len(lines) > MOST_LABELLED:
        raise InputError(
            f"{len(lines):,} lines, and this page takes {MOST_LABELLED:,}; learn from a file with `meta-text fit default FILE`"
        )
    texts, labels = [], []
    for number, line in lines:
        label, colon, text = (part.strip() for part in line.partition(":"))
        if not (label and colon and text):
            missing = "sentence" if label and colon else "category"
            raise InputError(f"line {number} has no {missing} ({line[:40]!r}); {FORMAT}")
        texts.append(text)
        labels.append(label)
    if len(set(labels)) == 1:
        raise InputError(f"{labels[0]!r} is the only category; write sentences of at least one more")
    return texts, labels


def as_lines(texts: Sequence[str], labels: Sequence[Label]) -> str:
    """The lines that `read_lines` reads; a colon in a category becomes a hyphen, and a text stands in one line."""
    categories = (" ".join(str(label).split()).replace(":", "-") for label in labels)
    return "\n".join(f"{label}: {' '.join(text.split())}" for label, text in zip(categories, texts, strict=True))


def lines_of(classifier: FewShotClassifier) -> str:
    """What a classifier has learned from, as lines."""
    pairs = [(text, label) for label, texts in classifier.support_.items() for text in texts]
    return as_lines([text for text, _ in pairs], [label for _, label in pairs])


def lines_of_file(path: str | Path) -> str:
    """The lines of a file with columns text and label. Raises CorpusError, and InputError for too many rows."""
    corpus = Corpus.open(path)
    if len(corpus.texts) > MOST_LABELLED:
        raise InputError(
            f"{Path(path).name} has {len(corpus.texts):,} texts, and this page takes {MOST_LABELLED:,}; use `meta-text fit default FILE`"
        )
    return as_lines(corpus.texts, [corpus.class_names[label] for label in corpus.labels])


def example_sets() -> dict[str, str]:
    """Lines by name: for each service of `data/intents` and kind of thing in `data/sentiment`, some of each category."""
    sets: dict[str, list[tuple[str, str]]] = {}
    for corpus in ("intents", "sentiment"):
        taken = Counter[tuple[str, str]]()
        for row in read_rows(shipped_folder("data") / corpus / "texts.jsonl"):
            name = f"{corpus}: {row['domain'].replace('_', ' ')}"
            taken[name, row["label"]] += 1
            if taken[name, row["label"]] <= EXAMPLES:
                sets.setdefault(name, []).append((row["text"], row["label"].replace("_", " ")))
    return {name: as_lines(*zip(*sorted(pairs, key=lambda pair: pair[1]), strict=True)) for name, pairs in sets.items()}


def learn(box: str) -> tuple[FewShotClassifier, str]:
    """A classifier of these lines, and what was learned in a sentence."""
    texts, labels = read_lines(box)
    classifier = FewShotClassifier().fit(texts, labels)
    return classifier, learned(classifier, len(texts))


def learned(classifier: FewShotClassifier, lines: int | None = None) -> str:
    """What a classifier knows; how many of the lines were copies, and which categories have one text alone."""
    distinct = {label: len({fold(text) for text in texts}) for label, texts in classifier.support_.items()}
    if not any(distinct.values()):
        return "This classifier came without its sentences: it answers, but its categories cannot be changed."
    told = f"Learned {counted(len(distinct), 'category', 'categories')} from {counted(sum(distinct.values()), 'sentence')}."
    copies = 0 if lines is None else lines - sum(distinct.values())
    if copies:
        told += f" {counted(copies, 'line')} {are(copies)} a copy of another and counted once."
    if few := [str(label) for label, count in distinct.items() if count == 1]:
        told += f" One sentence is little to learn from: {', '.join(few[:5])}."
    return told


def check_question(classifier: FewShotClassifier | None, text: str) -> FewShotClassifier:
    """Raises InputError before anything was learned, for a blank text and for one that is too long for the page."""
    classifier = check_learned(classifier)
    if not text.strip():
        raise InputError("there is no text to classify; write one above")
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"the text has {len(text):,} characters, and this page reads {MOST_CHARACTERS:,}; shorten it, or use `meta-text predict`"
        )
    return classifier


def check_learned(classifier: FewShotClassifier | None) -> FewShotClassifier:
    """Raises InputError before anything was learned."""
    if classifier is None:
        raise InputError("no categories are learned yet; write sentences of two or more, and press Learn")
    return classifier


def add_category(classifier: FewShotClassifier | None, name: str, box: str) -> list[ClassChange]:
    """Learn one more category from sentences, one per line, or more sentences of one that is there."""
    classifier, texts = check_learned(classifier), [line.strip() for line in box.splitlines() if line.strip()]
    name = name.strip()
    if not name:
        raise InputError("the category has no name; write one")
    if not texts:
        raise InputError(f"{name!r} has no sentences yet; write a few, one per line")
    if name in (known := named(classifier)):
        return classifier.add_examples(texts, [known[name]] * len(texts))
    return classifier.add_class(name, texts)


def remove_category(classifier: FewShotClassifier | None, name: str | None) -> list[ClassChange]:
    """Forget a category; the last two stay, because one alone leaves nothing to tell apart."""
    classifier = check_learned(classifier)
    if name is None:
        raise InputError("choose the category to remove")
    if len(classifier.classes_) <= 2:
        raise InputError("two categories are the fewest there can be; add another before this one goes")
    return classifier.remove_class(named(classifier)[name])


def named(classifier: FewShotClassifier) -> dict[str, Label]:
    """Each label by what the page calls it."""
    return {str(label): label for label in classifier.classes_.tolist()}


def accuracy_by_shots(classifier: FewShotClassifier | None, seed: int = 0) -> dict[int, float]:
    """Accuracy on own labels by how many sentences of each category were learned from: 1, 2, 4, ...; the others are asked.

    The mean over five draws. A category with fewer sentences gives all but one. Raises InputError if no category has two.
    """
    adapted = check_learned(classifier).adaptation_
    Classes.of(adapted, "its accuracy cannot be measured")
    adapted = adapted.resting if adapted.resting.features else adapted.resting.with_features()
    most = max(map(len, adapted.distinct.values()))
    if most < 2:
        raise InputError("each category has one sentence alone, so none can be held out; write more")
    found, shots = {}, 1
    while shots < most:
        found[shots] = float(np.mean([_accuracy(adapted, shots, random.Random(seed + i)) for i in range(DRAWS)]))
        shots *= 2
    return found


def _accuracy(adapted: Adaptation, shots: int, draw: random.Random) -> float:
    """The share of held-out texts that is answered rightly, after one draw."""
    drawn = {label: draw.sample(texts, len(texts)) for label, texts in adapted.distinct.items()}
    kept = {label: tuple(sorted(texts[: max(1, min(shots, len(texts) - 1))])) for label, texts in drawn.items()}
    asked = [(text, label) for label, texts in drawn.items() for text in texts if text not in kept[label]]
    asked = draw.sample(asked, min(MOST_ASKED, len(asked)))
    part = Adaptation.of_represented(adapted.model, adapted.calibration, kept, adapted.names, adapted.features)
    columns = part.probabilities(part.score([adapted.features[text] for text, _ in asked])).argmax(1)
    labels = list(part.support)
    return float(np.mean([labels[i] == label for i, (_, label) in zip(columns, asked, strict=True)]))


def texts_to_label(classifier: FewShotClassifier | None, path: str | Path | None) -> list[str]:
    """The texts of a file most worth labelling, the best first, at most ten."""
    classifier = check_learned(classifier)
    if path is None:
        raise InputError("choose a file of texts without labels, with a column named text")
    pile = [row.text for row in input_rows(str(path), "text") if row.text is not None][:MOST_PILE]
    chosen = [pile[i] for i in classifier.suggest(pile, ASKED_NEXT)]
    if not chosen:
        raise InputError(f"{Path(path).name} has no text that is not labelled already; choose another file")
    return chosen


def zipped(classifier: FewShotClassifier | None) -> str:
    """The classifier's folder, with its labelled texts, as a zip file."""
    classifier, folder = check_learned(classifier), Path(tempfile.mkdtemp())
    classifier.save_pretrained(folder / "classifier", include_support=True)
    return shutil.make_archive(str(folder / "classifier"), "zip", folder, "classifier")


def python_of(support: Mapping[Label, Sequence[str]]) -> str:
    """A program that learns the same."""
    rows = "".join(f"    ({text!r}, {label!r}),\n" for label, texts in support.items() for text in texts)
    return (
        f"from meta_text import FewShotClassifier\n\nlabelled = [\n{rows}]\n"
        "texts, labels = zip(*labelled)\nclassifier = FewShotClassifier().fit(texts, labels)\n"
        f'print(classifier.predict(["write a text here"], reject={RATE}))\n'
        'classifier.save_pretrained("classifier", include_support=True)\n'
    )
