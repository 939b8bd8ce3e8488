"""Checks of each row of a corpus; every message about the content of a row is here."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from meta_text.corpus.labels import decoded, look_alikes, plain
from meta_text.corpus.table_row import Place, heading_of, no_column
from meta_text.errors import CorpusError

BadRows = Literal["raise", "skip"]
NullLabel = Literal["missing", "out of scope"]
Key = tuple[tuple[str, ...], str]  # a class: the values of its group columns, and its label


MANY_SINGLE = 20  # labels of one text each: more likely to be numbers of rows than names of classes


class RowChecker:
    """Collects checked rows. `group` names the columns whose values define a task."""

    def __init__(
        self,
        name: str,
        text: str,
        label: str,
        group: tuple[str, ...],
        bad_rows: BadRows,
        null_label: NullLabel = "missing",
        out_of_scope: str | None = None,
        source: str | Path | None = None,
    ) -> None:
        self.name, self.text, self.label, self.group, self.bad_rows = name, text, label, group, bad_rows
        self.null_label, self.out_of_scope_label = null_label, out_of_scope
        self.source = name if source is None else source
        self.texts: list[str] = []
        self.keys: list[Key] = []
        self.fields: dict[str, list[str]] = {}
        self.out_of_scope: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.seen: dict[tuple[tuple[str, ...], str], tuple[str, Place]] = {}
        self.spellings: dict[str, set[str]] = defaultdict(set)  # label -> its spellings in the rows

    def add(self, place: Place, row: Mapping[str, Any]) -> None:
        """Keep a row, count it as skipped, or raise CorpusError."""
        text_heading, label_heading = (self._heading(place, column, row) for column in (self.text, self.label))
        for column in self.group:
            self._heading(place, column, row)
        text, label = decoded(row[text_heading]), decoded(plain(row[label_heading]))
        if isinstance(text, bytes):
            return self._bad(place, "text not UTF-8", f"{self.text} is bytes that are not UTF-8; decode it first")
        if not isinstance(text, str) or not text.strip():
            return self._bad(place, "empty text", f"{self.text} is {text!r}; a non-empty string is needed")
        if (label is None and self.null_label == "out of scope") or self._is_out_of_scope(label):
            self.out_of_scope.append(text)
            return None
        if label is None:
            return self._bad(place, "label missing", f"{self.label} is missing; give every text a label")
        spelled = self._as_string(place, label)
        if not spelled.strip():
            return self._bad(place, "label missing", f"{self.label} is empty; give every text a label")
        others = {key: value for key, value in row.items() if key not in (text_heading, label_heading)}
        self._keep(place, others, text, spelled)
        return None

    def _heading(self, place: Place, column: str, row: Mapping[str, Any]) -> str:
        heading = heading_of(column, row)
        if heading is None:
            raise no_column(str(place), column, row, {"text": self.text, "label": self.label})
        return heading

    def _is_out_of_scope(self, label: Any) -> bool:
        return self.out_of_scope_label is not None and isinstance(label, str) and label == self.out_of_scope_label

    def _as_string(self, place: Place, label: Any) -> str:
        if isinstance(label, list | tuple | set | frozenset | dict):
            raise CorpusError(
                f"{place}: {self.label} holds several labels ({label!r}); give one label per text, or "
                "learn several: name a mark that stands between labels with --labels-separator, such as '|' (in Python, "
                "MultiLabelFewShotClassifier)"
            )
        if isinstance(label, float):  # whole ones are integers by now
            raise CorpusError(
                f"{place}: {self.label} is {label!r}, a fraction; str, int or bool labels are needed: "
                "name the classes, or round the numbers to whole ones"
            )
        if isinstance(label, bytes):
            raise CorpusError(f"{place}: {self.label} is bytes that are not UTF-8 ({label[:20]!r}); decode it first")
        return str(label)

    def _keep(self, place: Place, others: Mapping[str, Any], text: str, spelled: str) -> None:
        label = spelled.strip()
        group = tuple(str(others[heading_of(key, others) or key]) for key in self.group)
        earlier = self.seen.get((group, text))
        if earlier is not None and earlier[0] != label:
            before = f"row {earlier[1].row}" if earlier[1].source == place.source else str(earlier[1])
            return self._bad(
                place,
                "same text under two labels",
                f"text {text[:40]!r} has label '{label}' here and '{earlier[0]}' in {before}; keep one",
            )
        self.spellings[label].add(spelled)
        if earlier is not None:
            self.skipped["exact duplicate"] += 1
            return None
        self.seen[group, text] = (label, place)
        for key, value in others.items():
            column = self.fields.setdefault(str(key), [])
            column.extend([""] * (len(self.texts) - len(column)))
            column.append("" if value is None else str(value))
        self.texts.append(text)
        self.keys.append((group, label))
        return None

    def _bad(self, place: Place, reason: str, message: str) -> None:
        if self.bad_rows == "raise":
            raise CorpusError(f"{place}: {message}")
        self.skipped[reason] += 1

    def finish(self) -> dict[str, Any]:
        """The arguments of a Corpus."""
        if not self.texts:
            raise CorpusError(f"{self.source}: no labelled text found; texts with labels are needed")
        keys = sorted(set(self.keys))
        groups = joined([group for group, _ in keys], ".")
        labels = [label for _, label in keys]
        class_names = joined(list(zip(groups, labels, strict=True)), "/") if self.group else labels
        by_name = sorted(range(len(keys)), key=class_names.__getitem__)
        index = {keys[i]: column for column, i in enumerate(by_name)}
        size = len(self.texts)
        return {
            "name": self.name,
            "texts": tuple(self.texts),
            "labels": tuple(index[key] for key in self.keys),
            "class_names": tuple(class_names[i] for i in by_name),
            "fields": {key: tuple(v + [""] * (size - len(v))) for key, v in self.fields.items()},
            "groups": tuple(groups[i] for i in by_name) if self.group else None,
            "class_labels": tuple(labels[i] for i in by_name) if self.group else None,
            "out_of_scope": tuple(self.out_of_scope),
            "skipped": dict(self.skipped),
            "notes": tuple(self._notes()),
        }

    def _notes(self) -> list[str]:
        """Notes on columns that look like the wrong ones, and on labels that look alike.

        Outer spaces do not make another class, other differences do.
        """
        notes = [
            f"labels {' and '.join(map(repr, sorted(spelled)))} differ only in outer spaces and are one class"
            for spelled in self.spellings.values()
            if len(spelled) > 1
        ]
        if not any(mark.isalpha() for text in self.texts for mark in text):
            notes.append(f"no text has a letter in it; is '{self.text}' the column of texts?")
        if len(self.texts) == len(self.spellings) >= MANY_SINGLE:
            notes.append(f"each of the {len(self.texts)} labels has one text; is '{self.label}' the column of labels?")
        alike = look_alikes(sorted(self.spellings))
        return notes + [f"labels {shown} {difference} and are {count} classes" for shown, difference, count in alike]


def joined(keys: Sequence[tuple[str, ...]], mark: str) -> list[str]:
    """Each tuple as one string, parts separated by `mark`; different tuples give different strings.

    If plain joining would give equal strings, the mark is escaped (as in URLs) in all parts but the last.
    """
    plainly = [mark.join(key) for key in keys]
    if len(set(plainly)) == len(set(keys)):
        return plainly
    escaped = f"%{ord(mark):02X}"
    return [
        mark.join([*(part.replace("%", "%25").replace(mark, escaped) for part in key[:-1]), *key[-1:]]) for key in keys
    ]
