"""Labelling a pile of texts one after another: which text comes next, and how good the labels are so far."""

from collections.abc import Sequence

from meta_text.classify.audit import Audit, audit
from meta_text.classify.label_file import LabelFile
from meta_text.classify.suggest import Pile, most_worth
from meta_text.corpus.same_text import fold
from meta_text.embedding.reading import Progress
from meta_text.model.adaptation import Adaptation
from meta_text.model.model import MetaModel

AHEAD = (
    5  # texts that are chosen together, or a tenth of those labelled: for each such batch the classifier learns anew
)


class Labelling:
    """A pile that is read once, and the file of its labels.

    classes: in the order in which they came, so that a class keeps its number.
    """

    def __init__(
        self, model: MetaModel, texts: Sequence[str], file: LabelFile, progress: Progress | None = None
    ) -> None:
        self.model, self.file = model, file
        others = [text for text, label in file.rows if label.strip()]
        everything = Pile.read([*texts, *others], lambda kept: model.represent(kept, progress))
        self.features = dict(zip(map(fold, everything.texts), everything.parts, strict=True))
        own = sum(place < len(texts) for place in everything.places)
        self.pile = Pile(everything.texts[:own], everything.places[:own], everything.parts[:own])
        self.skipped: set[str] = set()
        self.ahead: list[int] = []

    @property
    def labelled(self) -> dict[str, str]:
        """The label of each text, by its folded form; the last one counts."""
        return {fold(text): label.strip() for text, label in self.file.rows if label.strip()}

    @property
    def classes(self) -> list[str]:
        return list(dict.fromkeys(label.strip() for _, label in self.file.rows if label.strip()))

    def next(self) -> str | None:
        """The text most worth labelling; None when every text has a label or was skipped."""
        gone = self.skipped | self.labelled.keys()
        done = {i for i, text in enumerate(self.pile.texts) if fold(text) in gone}
        self.ahead = [i for i in self.ahead if i not in done]
        if not self.ahead:
            self.ahead = most_worth(self.pile, max(AHEAD, len(self.labelled) // 10), self.model, self.adapted(), done)
        return self.pile.texts[self.ahead[0]] if self.ahead else None

    def answer(self, text: str, label: str) -> None:
        """Keep a label, in the file too."""
        self.file.append(text, label)

    def skip(self, text: str) -> None:
        """Leave a text for another time."""
        self.skipped.add(fold(text))

    def undo(self) -> str | None:
        """Take the last label back and return its text, which comes next again; None where there is no label."""
        if not self.labelled:
            return None
        text, _ = self.file.undo()
        again = [i for i, own in enumerate(self.pile.texts) if fold(own) == fold(text)]
        self.ahead = again + self.ahead
        return text

    def adapted(self) -> Adaptation | None:
        """What the labels so far teach; None before the first."""
        support: dict[str, list[str]] = {}
        for text, label in self.labelled.items():
            support.setdefault(label, []).append(text)
        if not support:
            return None
        in_order = {label: tuple(sorted(support[label])) for label in sorted(support)}
        features = {text: self.features[text] for texts in in_order.values() for text in texts}
        return Adaptation.of_represented(self.model, self.model.calibration.plain, in_order, None, features)

    def audit(self) -> Audit | None:
        """Leave-one-out over the labels so far; None before the first."""
        adapted = self.adapted()
        return None if adapted is None else audit(adapted)
