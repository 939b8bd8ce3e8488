"""`fit` and `predict` where a text may have none, one or several labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_text.cli.console import bars, out_console
from meta_text.cli.labelled_file import read_several
from meta_text.errors import InputError
from meta_text.wording import counted, listed

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.classify.multilabel import MultiLabelFewShotClassifier

SHOWN_DOUBTS = 5


def fit_several(
    model: str,
    file: Path,
    out: Path,
    mark: str,
    columns: tuple[str, str],
    how: tuple[str | None, str | None],
    *,
    keeps_texts: bool,
    unlabelled: list[str | None] | None,
    **options: Any,
) -> None:
    """Learn from a file; columns: of texts and of labels. how: separator and encoding. unlabelled: texts. options: of the classifier."""
    from meta_text.classify.multilabel import MultiLabelFewShotClassifier

    texts, labels = read_several(file, *columns, mark, *how)
    classifier = MultiLabelFewShotClassifier(model, **options)
    with bars() as bar:
        classifier.fit(texts, labels, lambda done, total: bar("encode", "encoding texts", done, total), unlabelled)
    classifier.save_pretrained(out, include_support=keeps_texts)
    audit = classifier.audit()
    count = counted(len(classifier.adaptation_.given.texts), "text")
    out_console.print(f"{file.name}: {count}, {counted(len(classifier.classes_), 'label')}; classifier in {out}")
    out_console.print(audit.summary())
    for doubt in audit.doubts[:SHOWN_DOUBTS]:
        out_console.print(str(doubt))


def refuse_options(given: dict[str, bool]) -> None:
    """Raises InputError for options that go with one label a text alone; given: which of them were."""
    refused = [option for option, is_given in given.items() if is_given]
    if refused:
        verb = "goes" if len(refused) == 1 else "go"
        raise InputError(f"{listed(refused)} {verb} with one label a text; leave out either this or --labels-separator")


def lines_of(
    classifier: "FewShotClassifier | MultiLabelFewShotClassifier", texts: list[str], reject: float | None
) -> list[str]:
    """What the terminal shows: the label of each text, or its labels, and how probable these are; then the text."""
    from meta_text.classify.answerers import OneLabel, refuse_rate
    from meta_text.classify.multilabel import MultiLabelFewShotClassifier

    if not isinstance(classifier, MultiLabelFewShotClassifier):
        answers = zip(texts, OneLabel(classifier, reject).cells(texts), strict=True)
        return [
            f"none of these\t\t{text}" if label is None else f"{label}\t{100 * probability:.0f} %\t{text}"
            for text, (label, probability) in answers
        ]
    refuse_rate(reject)
    probabilities = classifier.predict_proba(texts)
    place = {label: i for i, label in enumerate(classifier.classes_.tolist())}
    told = [
        ", ".join(f"{label} {100 * row[place[label]]:.0f} %" for label in labels) or "no label"
        for row, labels in zip(probabilities, classifier.labels_of(probabilities), strict=True)
    ]
    return [f"{labels}\t{text}" for labels, text in zip(told, texts, strict=True)]
