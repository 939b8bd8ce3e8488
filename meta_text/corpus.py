"""Labelled texts in, checked rows out: `Corpus` and the class splits that keep test classes unseen."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from meta_text.rows import BadRows, CorpusError, RowChecker, read_rows


@dataclass(frozen=True)
class HubSource:
    """Where a known corpus lives on the Hugging Face Hub."""

    repo_id: str
    config: str | None
    text: str
    label: str
    out_of_scope: str | None = None  # the label that stands for "none of the classes"


KNOWN_CORPORA: dict[str, HubSource | None] = {  # None: no open copy on the Hub, a local folder only
    "banking77": HubSource("mteb/banking77", None, "text", "label_text"),
    "clinc150": HubSource("clinc/clinc_oos", "plus", "text", "intent", "oos"),
    "sst2": HubSource("stanfordnlp/sst2", None, "sentence", "label"),
    "arsc": None,
    "csldcp": None,
}


@dataclass(frozen=True)
class Corpus:
    """Texts with their classes.

    In a corpus of many small tasks (ARSC: each domain and rating threshold has its own two classes)
    `groups` says for every class which task it belongs to; only classes of one group meet in an
    episode, and a class's unique name is then "group/label".
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]  # row -> index into class_names
    class_names: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further columns, one value a row
    groups: tuple[str, ...] | None = None  # class -> group
    origins: tuple[str, ...] | None = None  # class -> the corpus it came from, in a mixture of several
    out_of_scope: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    class_splits: Mapping[str, "ClassSplit"] = field(default_factory=dict)

    def rows_of(self, class_name: str) -> list[int]:
        """The rows of one class, in file order."""
        return self._rows_by_class[self.class_index(class_name)]

    def class_index(self, class_name: str) -> int:
        try:
            return self._index[class_name]
        except KeyError:
            near = get_close_matches(class_name, self.class_names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise CorpusError(f"corpus '{self.name}' has no class '{class_name}'{hint}") from None

    def label_text(self, class_name: str) -> str:
        """A class name as words: the part after its group, underscores as spaces."""
        label = class_name.rsplit("/", 1)[-1] if self.groups is not None else class_name
        return label.replace("_", " ")

    def describe(self) -> str:
        """One line for people: sizes, and every row that was skipped with its reason."""
        what = f"{len(self.texts)} texts, {len(self.class_names)} classes"
        if self.groups is not None:
            what += f" in {len(set(self.groups))} tasks"
        if self.out_of_scope:
            what += f", {len(self.out_of_scope)} out of scope"
        for reason, count in self.skipped.items():
            what += f"; skipped {count} ({reason})"
        return f"{self.name}: {what}"

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.class_names)}

    @cached_property
    def _rows_by_class(self) -> dict[int, list[int]]:
        rows: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(self.labels):
            rows[label].append(row)
        return rows

    def thinned(self, class_names: Sequence[str], most: int, seed: int) -> "Corpus":
        """The same corpus with at most `most` texts, drawn by seed, of each named class."""
        rng = np.random.default_rng([seed, 2])
        spare = [row for name in class_names for row in rng.permutation(self.rows_of(name))[most:].tolist()]
        return self.without(spare)

    def without(self, rows: Iterable[int]) -> "Corpus":
        """The same corpus without these rows; class names stay, the rows after them move up."""
        gone = set(rows)
        kept = [row for row in range(len(self.texts)) if row not in gone]

        def pick(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[row] for row in kept)

        fields = {key: pick(column) for key, column in self.fields.items()}
        return replace(self, texts=pick(self.texts), labels=pick(self.labels), fields=fields)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        name: str,
        text: str = "text",
        label: str = "label",
        group: Sequence[str] = (),
        bad_rows: BadRows = "raise",
    ) -> "Corpus":
        """Build from mappings; `label` None means out of scope. `group` names the columns whose values make a task.

        Raises CorpusError for a missing column, an empty or non-string text, a missing label, the same
        text under two labels, or no row at all. With bad_rows="skip" such rows are counted instead.
        """
        builder = RowChecker(name, text, label, tuple(group), bad_rows)
        for number, row in enumerate(rows, start=1):
            builder.add(number, row)
        return cls(**builder.finish())

    @classmethod
    def from_csv(cls, path: str | Path, **options: Any) -> "Corpus":
        """A CSV file with a header line; options as in `from_rows`."""
        return cls._from_file(path, **options)

    @classmethod
    def from_jsonl(cls, path: str | Path, **options: Any) -> "Corpus":
        """One JSON object a line, .jsonl or .jsonl.gz; options as in `from_rows`."""
        return cls._from_file(path, **options)

    @classmethod
    def from_parquet(cls, path: str | Path, **options: Any) -> "Corpus":
        """A Parquet file; options as in `from_rows`."""
        return cls._from_file(path, **options)

    @classmethod
    def _from_file(cls, path: str | Path, **options: Any) -> "Corpus":
        options.setdefault("name", Path(path).name.split(".")[0])
        return cls.from_rows(read_rows(path), **options)

    @classmethod
    def from_dataset(
        cls, dataset: Any, *, name: str = "dataset", out_of_scope: str | None = None, **options: Any
    ) -> "Corpus":
        """A `datasets.Dataset`; ClassLabel columns keep their names, int and bool labels become strings.

        Rows labelled `out_of_scope` belong to no class.
        """
        label = options.get("label", "label")
        feature = dataset.features.get(label)
        names = getattr(feature, "names", None)

        def rows() -> Iterator[Mapping[str, Any]]:
            for row in dataset:
                if names is not None and row.get(label) is not None:
                    row = {**row, label: names[row[label]] if row[label] >= 0 else ""}  # -1: not labelled
                yield {**row, label: None} if out_of_scope is not None and row.get(label) == out_of_scope else row

        return cls.from_rows(rows(), name=name, **options)

    @classmethod
    def from_hub(
        cls, repo_id: str, *, config: str | None = None, revision: str | None = None, **options: Any
    ) -> "Corpus":
        """All splits of a data set on the Hugging Face Hub, together."""
        import datasets

        parts = datasets.load_dataset(repo_id, config, revision=revision)
        options.setdefault("name", repo_id.split("/")[-1])
        return cls.from_dataset(datasets.concatenate_datasets(list(parts.values())), **options)

    @classmethod
    def from_folder(cls, path: str | Path, *, name: str | None = None, bad_rows: BadRows = "skip") -> "Corpus":
        """A folder of *.jsonl, *.jsonl.gz, *.csv or *.parquet files, with class_splits/*.json or domains.json.

        With a domains.json ({"train_domains": [...], "test_domains": [...], optionally "validation_domains"})
        every value of the row fields `domain` (and `threshold`, if there) is a task of its own. The field
        `file` says which file a row came from.
        """
        folder = Path(path)
        kinds = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
        files = sorted(f for f in folder.iterdir() if f.name.endswith(kinds))
        if not files:
            raise CorpusError(
                f"no *.jsonl, *.jsonl.gz, *.csv or *.parquet file in {folder}; put the labelled texts there"
            )
        domains = folder / "domains.json"
        group: tuple[str, ...] = ()
        if domains.exists():
            first = next(read_rows(files[0]), {})
            group = tuple(key for key in ("domain", "threshold") if key in first)
        rows = ({"file": file.name.split(".")[0], **row} for file in files for row in read_rows(file))
        corpus = cls.from_rows(rows, name=name or folder.name, group=group, bad_rows=bad_rows)
        splits = {f.stem: ClassSplit.from_file(f) for f in sorted(folder.glob("class_splits/*.json"))}
        if domains.exists():
            splits["domains"] = _split_by_listed_domains(corpus, json.loads(domains.read_text("utf-8")))
        return replace(corpus, class_splits=splits)

    @classmethod
    def open(cls, name_or_path: str | Path, **columns: str) -> "Corpus":
        """A known name (META_TEXT_DATA/<name> first, then the Hub), a folder, or a CSV/JSONL/Parquet file.

        `columns` (text=, label=) name the columns of a file.
        """
        path = Path(name_or_path)
        if path.is_dir():
            return cls.from_folder(path)
        if path.is_file():
            return cls._from_file(path, **columns)
        name = str(name_or_path)
        root = os.environ.get("META_TEXT_DATA")
        if root and (Path(root) / name).is_dir():
            return cls.from_folder(Path(root) / name)
        if name not in KNOWN_CORPORA:
            known = ", ".join(KNOWN_CORPORA)
            raise CorpusError(f"'{name}' is neither a file, a folder nor a known corpus ({known})")
        source = KNOWN_CORPORA[name]
        if source is None:
            where = f"META_TEXT_DATA ({root})" if root else "META_TEXT_DATA, which is not set"
            raise CorpusError(
                f"corpus '{name}' is looked for in the folder named by {where}, and has no copy on the Hub; "
                f"set META_TEXT_DATA to a folder that holds {name}/"
            )
        return cls.from_hub(
            source.repo_id,
            config=source.config,
            text=source.text,
            label=source.label,
            out_of_scope=source.out_of_scope,
            name=name,
            bad_rows="skip",
        )


@dataclass(frozen=True)
class ClassSplit:
    """Which classes are for training, for choosing, and for the final number. They never overlap."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        owner: dict[str, str] = {}
        for part, names in parts.items():
            for class_name in names:
                if class_name in owner:
                    raise CorpusError(
                        f"class '{class_name}' is in {owner[class_name]} and in {part}; a class belongs to one part only"
                    )
                owner[class_name] = part

    def part(self, name: str) -> tuple[str, ...]:
        """The classes of "train", "validation" or "test"."""
        if name not in ("train", "validation", "test"):
            raise CorpusError(f"no class part '{name}'; train, validation and test there are")
        return tuple(getattr(self, name))

    def check(self, corpus: Corpus) -> "ClassSplit":
        """Raises CorpusError when a named class is not in the corpus."""
        for class_name in (*self.train, *self.validation, *self.test):
            corpus.class_index(class_name)
        return self

    @classmethod
    def from_file(cls, path: str | Path) -> "ClassSplit":
        """A JSON object with the lists `train`, `validation` and `test`."""
        content = json.loads(Path(path).read_text("utf-8"))
        missing = [part for part in ("train", "validation", "test") if part not in content]
        if missing:
            raise CorpusError(f"{path}: no list '{missing[0]}'; train, validation and test are needed")
        return cls(*(tuple(content[part]) for part in ("train", "validation", "test")))

    @classmethod
    def by_seed(cls, corpus: Corpus, seed: int, fractions: tuple[float, float] = (0.5, 0.2)) -> "ClassSplit":
        """Units (classes, or groups of classes that meet in one task) shuffled and cut at `fractions`."""
        return cls._cut(corpus, list(corpus.groups or corpus.class_names), seed, fractions)

    @classmethod
    def by_field(
        cls, corpus: Corpus, name: str, seed: int, fractions: tuple[float, float] = (0.5, 0.2)
    ) -> "ClassSplit":
        """All classes with one value of a row field (say, a domain) go to the same part."""
        if name not in corpus.fields:
            raise CorpusError(
                f"corpus '{corpus.name}' has no field '{name}' (found: {', '.join(corpus.fields) or 'none'})"
            )
        values = []
        for class_name in corpus.class_names:
            found = sorted({corpus.fields[name][row] for row in corpus.rows_of(class_name)})
            if len(found) != 1:
                raise CorpusError(
                    f"class '{class_name}' has {len(found)} values of '{name}' ({', '.join(found)}); one is needed"
                )
            values.append(found[0])
        return cls._cut(corpus, values, seed, fractions)

    @classmethod
    def _cut(cls, corpus: Corpus, unit_of_class: list[str], seed: int, fractions: tuple[float, float]) -> "ClassSplit":
        units = sorted(set(unit_of_class))
        if len(units) < 3:
            raise CorpusError(f"corpus '{corpus.name}' has {len(units)} classes to split; at least 3 are needed")
        order = np.random.default_rng(seed).permutation(len(units))
        first = min(max(1, round(len(units) * fractions[0])), len(units) - 2)
        second = min(max(1, round(len(units) * fractions[1])), len(units) - first - 1)
        cuts = (order[:first], order[first : first + second], order[first + second :])
        chosen = [{units[i] for i in cut} for cut in cuts]
        named = list(zip(corpus.class_names, unit_of_class, strict=True))
        return cls(*(tuple(name for name, unit in named if unit in part) for part in chosen))


def _split_by_listed_domains(corpus: Corpus, listed: Mapping[str, Sequence[str]]) -> ClassSplit:
    """Domains named in domains.json; without validation domains, every fifth train domain validates."""
    train, test = list(listed["train_domains"]), list(listed["test_domains"])
    present = {corpus.fields["domain"][corpus.rows_of(name)[0]] for name in corpus.class_names}
    validation = list(listed.get("validation_domains", ())) or sorted(set(train) & present)[4::5]
    train = [domain for domain in train if domain not in validation]

    def classes(domains: Sequence[str]) -> tuple[str, ...]:
        chosen = set(domains)
        return tuple(n for n in corpus.class_names if corpus.fields["domain"][corpus.rows_of(n)[0]] in chosen)

    return ClassSplit(classes(train), classes(validation), classes(test))
