"""Several corpora as one: the recipe's own, also used for validation and test, and others used only for training."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.row_checks import joined
from meta_text.corpus.same_text import fold
from meta_text.errors import CorpusError


def with_others(
    corpus: Corpus, split: ClassSplit, others: Sequence[Corpus], texts_needed: int
) -> tuple[Corpus, ClassSplit]:
    """One corpus whose train classes are those of `split` and every class of the others.

    A class is then called "corpus/class", and `origins` keeps corpora apart: all classes of an episode
    are from one. Texts that the others share with the validation and test classes (equal after `fold`) are left
    out, and so are their classes with fewer than `texts_needed` texts; `skipped` counts both.
    Raises CorpusError if two corpora have the same name.
    """
    members = [corpus, *others]
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise CorpusError(f"corpora {', '.join(names)}; [corpus] also must name other corpora, each once")
    hidden = {fold(corpus.texts[row]) for name in (*split.validation, *split.test) for row in corpus.rows_of(name)}
    skipped = dict(corpus.skipped)
    kept = [corpus]
    for other in others:
        skipped |= {reason: rows for reason, rows in other.skipped.items() if reason.startswith(f"{other.name}: ")}
        seen = [row for row, text in enumerate(other.texts) if fold(text) in hidden]
        _count(skipped, f"{other.name}: text of a validation or test class", len(seen))
        part = other.without(seen)
        rare = [name for name in part.class_names if len(part.rows_of(name)) < texts_needed]
        rows = [row for name in rare for row in part.rows_of(name)]
        _count(skipped, f"{other.name}: class with fewer than {texts_needed} texts", len(rows))
        kept.append(part.without(rows))
    merged = _joined(kept, skipped)
    others_train = tuple(
        name
        for name, origin in zip(merged.class_names, merged.origins or (), strict=True)
        if origin != corpus.name and merged.rows_of(name)
    )
    renamed = dict(zip(corpus.class_names, merged.class_names, strict=False))  # its classes come first
    own = [tuple(renamed[name] for name in split.part(part)) for part in ("train", "validation", "test")]
    return merged, ClassSplit(own[0] + others_train, own[1], own[2])


def without_texts(corpus: Corpus, class_names: Sequence[str], hidden: Collection[str]) -> Corpus:
    """A corpus whose classes of these names have none of the hidden texts, which are folded; `skipped` counts them."""
    if not hidden:
        return corpus
    seen = [row for name in class_names for row in corpus.rows_of(name) if fold(corpus.texts[row]) in hidden]
    skipped = dict(corpus.skipped)
    _count(skipped, f"{corpus.name}: text of an unseen corpus", len(seen))
    return replace(corpus.without(seen), skipped=skipped)


def _joined(members: Sequence[Corpus], skipped: dict[str, int]) -> Corpus:
    texts: list[str] = []
    labels: list[int] = []
    keys: list[tuple[str, str]] = []
    class_labels: list[str] = []
    groups: list[str] = []
    origins: list[str] = []
    columns = members[0].fields
    fields = {key: list(values) for key, values in columns.items()}
    for member in members:
        texts += member.texts
        labels += [len(keys) + label for label in member.labels]
        keys += [(member.name, name) for name in member.class_names]
        class_labels += member.class_labels or member.class_names
        groups += member.groups or ("",) * len(member.class_names)
        origins += [member.name] * len(member.class_names)
        if member is not members[0]:
            for column in fields.values():
                column += [""] * len(member.texts)
    return replace(
        members[0],
        texts=tuple(texts),
        labels=tuple(labels),
        class_names=tuple(joined(keys, "/")),
        class_labels=tuple(class_labels),
        fields={key: tuple(values) for key, values in fields.items()},
        groups=tuple(groups),
        origins=tuple(origins),
        skipped=skipped,
        notes=tuple(note for member in members for note in member.notes),
        class_splits={},
    )


def _count(skipped: dict[str, int], reason: str, rows: int) -> None:
    if rows:
        skipped[reason] = rows
