"""Labelled texts in, checked rows out: every way into a `Corpus`."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from meta_text.corpus.class_split import ClassSplit as ClassSplit  # what a corpus is divided by belongs to it
from meta_text.corpus.class_split import read_lists
from meta_text.corpus.known_corpora import KNOWN_CORPORA
from meta_text.corpus.rows import BadRows, NullLabel, RowChecker, read_rows
from meta_text.errors import CorpusError
from meta_text.extras import needs
from meta_text.shipped import shipped_folder


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
    class_splits: Mapping[str, ClassSplit] = field(default_factory=dict)

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

    def units(self, field: str | None = None) -> dict[str, str]:
        """Class -> what must stay together when classes are divided: itself or its task, or its value of a field."""
        if field is None:
            return dict(zip(self.class_names, self.groups or self.class_names, strict=True))
        if field not in self.fields:
            columns = ", ".join(self.fields) or "none"
            raise CorpusError(f"corpus '{self.name}' has no field '{field}' (found: {columns})")
        values = {name: sorted({self.fields[field][row] for row in self.rows_of(name)}) for name in self.class_names}
        for class_name, several in values.items():
            if len(several) > 1:
                raise CorpusError(
                    f"class '{class_name}' has {len(several)} values of '{field}' ({', '.join(several)}); one is needed"
                )
        return {class_name: value for class_name, [value] in values.items()}

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
        null_label: NullLabel = "missing",
    ) -> "Corpus":
        """Build from mappings. `group` names the columns whose values make a task.

        Raises CorpusError for a missing column, an empty or non-string text, a missing label, the same
        text under two labels, or no row at all. With bad_rows="skip" such rows are counted instead.
        With null_label="out of scope" a row whose label is None belongs to no class; else its label is missing.
        """
        builder = RowChecker(name, text, label, tuple(group), bad_rows, null_label)
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
                if out_of_scope is not None and label in row:
                    row = {**row, label: {None: "", out_of_scope: None}.get(row[label], row[label])}
                yield row

        null_label: NullLabel = "missing" if out_of_scope is None else "out of scope"
        return cls.from_rows(rows(), name=name, **{"null_label": null_label, **options})

    @classmethod
    def from_hub(
        cls, repo_id: str, *, config: str | None = None, revision: str | None = None, **options: Any
    ) -> "Corpus":
        """All splits of a data set on the Hugging Face Hub, together."""
        with needs("train", "reading a data set of the Hugging Face Hub"):
            import datasets

        parts = datasets.load_dataset(repo_id, config, revision=revision)
        options.setdefault("name", repo_id.split("/")[-1])
        return cls.from_dataset(datasets.concatenate_datasets(list(parts.values())), **options)

    @classmethod
    def from_folder(cls, path: str | Path, *, name: str | None = None, bad_rows: BadRows = "skip") -> "Corpus":
        """A folder of *.jsonl, *.jsonl.gz, *.csv or *.parquet files, with class_splits/*.json or domains.json.

        With a domains.json ({"train_domains": [...], "test_domains": [...], optionally "validation_domains"})
        every value of the row fields `domain` (and `threshold`, if there) is a task of its own. The field
        `file` says which file a row came from. A label that is null means out of scope in the files
        out_of_scope.*; elsewhere it is missing.
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
        rows = (
            {"file": file.name.split(".")[0], **_null_only_out_of_scope(row, file)}
            for file in files
            for row in read_rows(file)
        )
        corpus = cls.from_rows(
            rows, name=name or folder.name, group=group, bad_rows=bad_rows, null_label="out of scope"
        )
        splits = {f.stem: ClassSplit.from_file(f) for f in sorted(folder.glob("class_splits/*.json"))}
        if domains.exists():
            listed = read_lists(domains, ("train_domains", "test_domains"))
            splits["domains"] = ClassSplit.by_listed_domains(corpus, listed)
        return replace(corpus, class_splits=splits)

    @classmethod
    def open(cls, name_or_path: str | Path, **columns: str) -> "Corpus":
        """A known name (META_TEXT_DATA/NAME first, then the package, then the Hub), a folder, or a CSV/JSONL/Parquet file.

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
        if KNOWN_CORPORA[name].shipped:
            return cls.from_folder(shipped_folder("data") / name)
        source = KNOWN_CORPORA[name].source
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


def _null_only_out_of_scope(row: dict[str, Any], file: Path) -> dict[str, Any]:
    missing = row.get("label", "") is None and not file.name.startswith("out_of_scope")
    return {**row, "label": ""} if missing else row
