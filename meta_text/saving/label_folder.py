"""A classifier of several labels a text on disk: what it knows of them, beside its model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, ModelFileError
from meta_text.files import file_sha256, replacing, save_tensors
from meta_text.model.encoder_words import choice_of
from meta_text.model.model import MetaModel
from meta_text.model.multilabel import LabelAdaptation, Labelled
from meta_text.model.task import Label
from meta_text.saving.card import write_card
from meta_text.saving.class_folder import (
    SUPPORT,
    TASK,
    UNLABELLED,
    StoredEncoder,
    check_encoders,
    digest_of,
    read_unlabelled,
    stored_encoders,
    write_unlabelled,
)
from meta_text.saving.model_folder import AGAIN, MULTILABEL, checked, read_config, read_tensors, write_model

ESTIMATOR = "MultiLabelFewShotClassifier"
WAY_OUT = "change labels through the classifier (add_label, remove_label, ...), not in the file"


@dataclass(frozen=True)
class StoredLabels:
    """What config.json says about the labels; `sha256` covers all other fields."""

    labels: list[bool | int | str]
    names: list[str] | None
    texts: int
    task_sha256: str
    support_sha256: str | None
    encoders: tuple[StoredEncoder, ...]
    sha256: str
    unlabelled_sha256: str | None = None


def save_labels(adapted: LabelAdaptation, folder: str | Path, *, include_support: bool) -> None:
    """Write a model folder with its card and its labels. All or nothing."""
    with replacing(Path(folder)) as partial:
        save_tensors({name: t.detach().cpu().contiguous() for name, t in adapted.task.items()}, partial / TASK)
        if include_support:
            (partial / SUPPORT).write_text("".join(_rows(adapted.given)), encoding="utf-8")
        stored: dict[str, Any] = {
            "labels": list(adapted.given.labels),
            "names": adapted.given.names,
            "texts": adapted.n_texts,
            "task_sha256": file_sha256(partial / TASK),
            "support_sha256": file_sha256(partial / SUPPORT) if include_support else None,
            "encoders": [asdict(encoder) for encoder in stored_encoders(adapted.model)],
        }
        if include_support and adapted.given.pool:
            write_unlabelled(adapted.given.pool, partial / UNLABELLED)
            stored["unlabelled_sha256"] = file_sha256(partial / UNLABELLED)
        write_model(adapted.model, partial, {MULTILABEL: {**stored, "sha256": digest_of(stored)}})
        read_by = choice_of(adapted.blocks, adapted.task).sentence()
        write_card(adapted.model, partial, adapted.given.labels, None, read_by, ESTIMATOR)


def _rows(given: Labelled) -> list[str]:
    """Lines of JSON: a text with its labels."""
    rows = []
    for text, row in zip(given.texts, given.has, strict=True):
        labels = [label for label, has in zip(given.labels, row, strict=True) if has]
        rows.append(json.dumps({"text": text, "labels": labels}, ensure_ascii=False) + "\n")
    return rows


def holds_labels(folder: Path) -> bool:
    """Whether a folder has labels of which a text may have several. Raises ModelFileError for one that is no model."""
    return MULTILABEL in read_config(folder)


def load_labels(folder: Path, model: MetaModel) -> LabelAdaptation:
    """The labels that were saved with a model.

    Raises ModelFileError if files and config disagree, or if the folder holds classes, one for each text, or none.
    """
    config = read_config(folder)
    values = config.get(MULTILABEL)
    if values is None:
        way_out = "fit one: MultiLabelFewShotClassifier(model).fit(texts, labels)"
        if config.get("classifier") is not None:
            way_out = "it has classes, one for each text: load it with FewShotClassifier.from_pretrained"
        raise ModelFileError(f"{folder} holds no labels of which a text may have several; {way_out}")
    where = f"{folder}/config.json"
    stored = checked(StoredLabels, values, f"{where}, {MULTILABEL}")
    tensors = read_tensors(folder / TASK)
    if file_sha256(folder / TASK) != stored.task_sha256:
        raise ModelFileError(f"{folder / TASK} is not the file that config.json describes; {AGAIN}")
    if digest_of({key: value for key, value in values.items() if key != "sha256"}) != stored.sha256:
        raise ModelFileError(f"the labels in {where} are not those that were saved; {WAY_OUT}")
    # cloned: a memory-mapped tensor is aligned differently, and sums would differ in the last bit
    task = {name: tensor.clone().to(model.embedding.device) for name, tensor in tensors.items()}
    check_encoders(folder, stored.encoders, model)
    texts, has = _read_texts(folder / SUPPORT, stored)
    names = None if stored.names is None else tuple(stored.names)
    pool = read_unlabelled(folder / UNLABELLED, stored.unlabelled_sha256) if texts else ()
    bare = LabelAdaptation(model, Labelled(tuple(stored.labels), texts, has, names, pool), task, stored.texts)
    return bare.with_features() if texts else bare


def _read_texts(path: Path, stored: StoredLabels) -> tuple[tuple[str, ...], Bool[np.ndarray, "S N"]]:
    """The texts and which labels each has; no texts if they were not saved."""
    place: dict[Label, int] = {label: i for i, label in enumerate(stored.labels)}
    if stored.support_sha256 is None or not path.exists():
        return (), np.zeros((0, len(place)), dtype=bool)
    if file_sha256(path) != stored.support_sha256:
        raise ModelFileError(
            f"{path} does not hold the texts that were learned; change them through the classifier (add_examples, "
            "remove_examples), or remove the file: the classifier then answers but cannot be changed"
        )
    try:
        rows: list[Mapping[str, Any]] = list(read_rows(path))
    except CorpusError as error:
        raise ModelFileError(f"{error}; {AGAIN}") from None
    has = np.zeros((len(rows), len(place)), dtype=bool)
    for i, row in enumerate(rows):
        has[i, [place[label] for label in row["labels"]]] = True
    return tuple(row["text"] for row in rows), has
