"""Which classes train, which choose, which give the final number: class splits keep test classes unseen."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meta_text.errors import CorpusError

if TYPE_CHECKING:
    import meta_text.corpus.corpus


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

    def check(self, corpus: "meta_text.corpus.corpus.Corpus") -> "ClassSplit":
        """Raises CorpusError when a named class is not in the corpus."""
        for class_name in (*self.train, *self.validation, *self.test):
            corpus.class_index(class_name)
        return self

    @classmethod
    def from_file(cls, path: str | Path) -> "ClassSplit":
        """A JSON object with the lists `train`, `validation` and `test`."""
        content = read_lists(Path(path), ("train", "validation", "test"))
        return cls(*(tuple(content[part]) for part in ("train", "validation", "test")))

    @classmethod
    def by_seed(
        cls, corpus: "meta_text.corpus.corpus.Corpus", seed: int, fractions: tuple[float, float] = (0.5, 0.2)
    ) -> "ClassSplit":
        """Units (classes, or groups of classes that meet in one task) shuffled and cut at `fractions`."""
        return cls._cut(corpus, list(corpus.groups or corpus.class_names), seed, fractions)

    @classmethod
    def by_field(
        cls, corpus: "meta_text.corpus.corpus.Corpus", name: str, seed: int, fractions: tuple[float, float] = (0.5, 0.2)
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
    def by_listed_domains(
        cls, corpus: "meta_text.corpus.corpus.Corpus", listed: Mapping[str, Sequence[str]]
    ) -> "ClassSplit":
        """Domains named in domains.json; without validation domains, every fifth train domain validates."""
        train, test = list(listed["train_domains"]), list(listed["test_domains"])
        present = {corpus.fields["domain"][corpus.rows_of(name)[0]] for name in corpus.class_names}
        validation = list(listed.get("validation_domains", ())) or sorted(set(train) & present)[4::5]
        train = [domain for domain in train if domain not in validation]

        def classes(domains: Sequence[str]) -> tuple[str, ...]:
            chosen = set(domains)
            return tuple(n for n in corpus.class_names if corpus.fields["domain"][corpus.rows_of(n)[0]] in chosen)

        return cls(classes(train), classes(validation), classes(test))

    @classmethod
    def _cut(
        cls,
        corpus: "meta_text.corpus.corpus.Corpus",
        unit_of_class: list[str],
        seed: int,
        fractions: tuple[float, float],
    ) -> "ClassSplit":
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


def read_lists(path: Path, needed: Sequence[str]) -> dict[str, list[str]]:
    """A JSON object of lists of names. Raises CorpusError with the file for anything else."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"no class split at {path}; a JSON file with the lists {', '.join(needed)} is needed"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path} is not JSON ({error}); an object with the lists {', '.join(needed)} is needed"
        ) from None
    for key in needed:
        found = content.get(key) if isinstance(content, dict) else None
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise CorpusError(f"{path}: no list '{key}'; the lists of names {', '.join(needed)} are needed")
    return dict(content)
