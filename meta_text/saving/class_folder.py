"""The classes saved with a model: their task, their names and, if requested, their labelled texts."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from meta_text.corpus.read_rows import read_rows
from meta_text.corpus.same_text import fold
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.given_vectors import CallableEncoder
from meta_text.errors import CorpusError, ModelFileError
from meta_text.files import file_sha256, save_tensors
from meta_text.model.adaptation import Adaptation
from meta_text.model.cheap_encoders import cheap_model, cheap_places
from meta_text.model.groups import Groups
from meta_text.model.lesson import Lesson
from meta_text.model.model import MetaModel
from meta_text.model.moved_adaptation import moved_model
from meta_text.model.moving import Move
from meta_text.model.task import Weights
from meta_text.saving.model_folder import AGAIN, MULTILABEL, checked, read_config, read_tensors
from meta_text.wording import counted

TASK, SUPPORT, MOVED, UNLABELLED = "task.safetensors", "support.jsonl", "moved.safetensors", "unlabelled.jsonl"
FIRST = "first."  # before the names of tensors that the cheap encoders learned alone


@dataclass(frozen=True)
class StoredEncoder:
    """One encoder that the classes were learned with; no digest if only its owner can make it."""

    name: str
    width: int
    digest: str | None = None


@dataclass(frozen=True)
class StoredMove:
    """What came of moving an encoder; `sha256` is that of the file of updates, None if it stayed."""

    texts: int
    right: int
    right_moved: int
    place: int
    sharpness: float = 1.0
    corrections: tuple[float, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class StoredClasses:
    """What config.json says about the classes; `sha256` covers all other fields."""

    labels: list[bool | int | str]
    names: list[str] | None
    shots: float
    task_sha256: str
    corrections: tuple[float, ...] = ()
    support_sha256: str | None = None
    unlabelled_sha256: str | None = None
    encoders: tuple[StoredEncoder, ...] = ()
    prior: tuple[float, ...] | None = None
    move: StoredMove | None = None
    lesson: Lesson | None = None
    groups: Groups | None = None
    sha256: str | None = None  # not in the first folders of format version 1


def write_adaptation(adapted: Adaptation, folder: Path, *, include_support: bool) -> dict[str, Any]:
    """Write the task next to a model; returns its entry for config.json."""
    first = {} if adapted.first is None else {f"{FIRST}{name}": t for name, t in adapted.first.task.items()}
    tensors = {name: t.detach().cpu().contiguous() for name, t in {**adapted.task, **first}.items()}
    save_tensors(tensors, folder / TASK)
    if include_support:
        weights = adapted.weights or {}
        rows = [
            json.dumps({"text": text, "label": label, **_weight(weights.get((label, fold(text))))}, ensure_ascii=False)
            for label, texts in adapted.support.items()
            for text in texts
        ]
        (folder / SUPPORT).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    if include_support and adapted.pool:
        write_unlabelled(adapted.pool, folder / UNLABELLED)
    stored = {
        "labels": list(adapted.support),
        "names": adapted.names,
        "shots": adapted.shots,
        "corrections": adapted.corrections,
        "task_sha256": file_sha256(folder / TASK),
        "support_sha256": file_sha256(folder / SUPPORT) if include_support else None,
        "encoders": [asdict(encoder) for encoder in stored_encoders(adapted.resting.model)],
        "prior": adapted.prior,
        "move": None if adapted.move is None else asdict(_write_move(adapted.move, folder)),
    }
    # what follows is not read by versions before
    if adapted.lesson is not None:
        stored["lesson"] = asdict(adapted.lesson)
    if adapted.groups is not None:
        stored["groups"] = asdict(adapted.groups)
    if (folder / UNLABELLED).exists():
        stored["unlabelled_sha256"] = file_sha256(folder / UNLABELLED)
    return {**stored, "sha256": digest_of(stored)}


def _weight(weight: float | None) -> dict[str, float]:
    return {} if weight is None else {"weight": weight}


def _write_move(move: Move, folder: Path) -> StoredMove:
    if move.is_moved:
        save_tensors(dict(move.updates), folder / MOVED)
    known = {f.name: getattr(move, f.name) for f in fields(StoredMove) if f.name != "sha256"}
    return StoredMove(**known, sha256=file_sha256(folder / MOVED) if move.is_moved else None)


def _read_move(stored: StoredMove, folder: Path) -> Move:
    known = {key: value for key, value in asdict(stored).items() if key != "sha256"}
    if stored.sha256 is None:
        return Move(**known)
    tensors = read_tensors(folder / MOVED)
    if file_sha256(folder / MOVED) != stored.sha256:
        raise ModelFileError(
            f"{folder / MOVED} is not the file that config.json describes; copy the whole folder again"
        )
    return Move(**known, updates=tensors)


def load_adaptation(folder: Path, model: MetaModel) -> Adaptation | None:
    """The classes that were saved with a model, or None. Raises ModelFileError if files and config disagree."""
    config = read_config(folder)
    if MULTILABEL in config:
        raise ModelFileError(
            f"{folder} holds labels of which a text may have several; load it with MultiLabelFewShotClassifier.from_pretrained"
        )
    values = config.get("classifier")
    if values is None:
        return None
    stored = checked(StoredClasses, values, f"{folder}/config.json, classifier")
    tensors = read_tensors(folder / TASK)
    _check(folder, stored, values, len(tensors.get("head", ())))
    # cloned: a memory-mapped tensor is aligned differently, and sums would differ in the last bit
    task = {name: tensor.clone().to(model.embedding.device) for name, tensor in tensors.items()}
    check_encoders(folder, stored.encoders, model)
    support, weights = _read_support(folder / SUPPORT, stored)
    kept = None if stored.names is None else tuple(stored.names)
    calibration = model.calibration.of(kept is not None)
    first_task = {name.removeprefix(FIRST): task.pop(name) for name in list(task) if name.startswith(FIRST)}
    places = cheap_places(model.embedding, task["weights"].tolist()) if first_task else None
    first = None
    if places is not None:
        first = Adaptation(cheap_model(model, places)[0], calibration, support, kept, first_task, stored.shots)
    bare = Adaptation(
        model,
        calibration,
        support,
        kept,
        task,
        stored.shots,
        corrections=stored.corrections,
        first=first,
        weights=weights,
        pool=read_unlabelled(folder / UNLABELLED, stored.unlabelled_sha256),
        lesson=stored.lesson,
    )
    bare = bare.expecting(stored.prior)
    if stored.move is not None:
        bare = _moved(bare, _read_move(stored.move, folder))
    bare = bare.divided(stored.groups)
    return bare.with_features() if any(support.values()) else bare


def _moved(bare: Adaptation, move: Move) -> Adaptation:
    """What was saved with an encoder that was moved; `still` is learned again, if the texts are there."""
    if not move.is_moved:
        return replace(bare, move=move)
    still = None
    if any(bare.support.values()):
        still = Adaptation.learn(
            bare.model, bare.calibration, bare.support, bare.names, weights=bare.weights, unlabeled=bare.pool
        )
        still = still.expecting(bare.prior)
    return replace(bare, model=moved_model(bare.model, move), move=move, still=still)


def _check(folder: Path, stored: StoredClasses, values: dict[str, Any], heads: int) -> None:
    if file_sha256(folder / TASK) != stored.task_sha256:
        raise ModelFileError(f"{folder / TASK} is not the file that config.json describes; copy the whole folder again")
    way_out = "change classes through the classifier (rename_class, remove_class, ...), not in the file"
    if heads != len(stored.labels):
        raise ModelFileError(
            f"{folder}/config.json lists {counted(len(stored.labels), 'class', 'classes')} but {TASK} holds {heads}; {way_out}"
        )
    rest = {key: value for key, value in values.items() if key != "sha256"}
    if stored.sha256 is not None and digest_of(rest) != stored.sha256:
        raise ModelFileError(
            f"the classes in {folder}/config.json (labels, names, shots, corrections) are not those that were saved; "
            + way_out
        )


def stored_encoders(model: MetaModel) -> list[StoredEncoder]:
    """The encoders of a model; none if it reads token states of one embedding."""
    if not isinstance(model.embedding, EncoderBlocks):
        return []
    return [
        StoredEncoder(encoder.name, encoder.width, None if isinstance(encoder, CallableEncoder) else encoder.digest())
        for encoder in model.embedding.encoders
    ]


def check_encoders(folder: Path, stored: Sequence[StoredEncoder], model: MetaModel) -> None:
    """Raises ModelFileError for other encoders than the classes were learned with; fixes widths not known before."""
    if not stored:
        return
    found = stored_encoders(model)
    fits = len(found) == len(stored) and all(
        (one.name if one.digest is None else one.digest) == (other.name if other.digest is None else other.digest)
        and one.width in (0, other.width)
        for one, other in zip(found, stored, strict=True)
    )
    if not fits:
        raise ModelFileError(
            f"the classes in {folder} were learned with the encoders {_listed(stored)}, but these are "
            f"{_listed(found)}; pass the same ones in the same order as embedding=, or fit again"
        )
    assert isinstance(model.embedding, EncoderBlocks)
    for encoder, known in zip(model.embedding.encoders, stored, strict=True):
        encoder.width = known.width


def _listed(encoders: Sequence[StoredEncoder]) -> str:
    return ", ".join(
        f"{one.name} ({f'{one.width} numbers' if one.width else 'any width'}"
        f"{'' if one.digest is None else f', SHA-256 {one.digest[:12]}...'})"
        for one in encoders
    )


def _read_support(path: Path, stored: StoredClasses) -> tuple[dict[Any, tuple[str, ...]], Weights | None]:
    """Each label with its texts, no texts if they were not saved; and the weights of those that have one."""
    support: dict[Any, tuple[str, ...]] = dict.fromkeys(stored.labels, ())
    weights: dict[tuple[Any, str], float] = {}
    if not path.exists():
        return support, None
    if stored.support_sha256 is not None and file_sha256(path) != stored.support_sha256:
        raise ModelFileError(
            f"{path} does not hold the texts that were learned; change them through the classifier (add_examples, "
            "remove_examples), or remove the file: the classifier then answers but cannot be changed"
        )
    try:
        for number, row in enumerate(read_rows(path), start=1):
            label, text, weight = row.get("label"), row.get("text"), row.get("weight", 1.0)
            is_weight = isinstance(weight, int | float) and 0 < weight < math.inf
            if (
                not isinstance(label, bool | int | str)
                or label not in support
                or not isinstance(text, str)
                or not is_weight
            ):
                raise ModelFileError(
                    f"{path}, line {number}: a text with one of the labels in config.json is needed, "
                    f"its weight, if it has one, a positive number, found {row}; {AGAIN}"
                )
            support[label] = (*support[label], text)
            if "weight" in row:
                weights[label, fold(text)] = float(weight)
    except CorpusError as error:
        raise ModelFileError(f"{error}; {AGAIN}") from None
    return support, weights or None


def write_unlabelled(texts: Sequence[str], path: Path) -> None:
    """Unlabelled texts as lines of JSON."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_unlabelled(path: Path, sha256: str | None) -> tuple[str, ...]:
    """The unlabelled texts, which a change of what was learned needs; none if they were not saved."""
    if sha256 is None:
        return ()
    if not path.exists() or file_sha256(path) != sha256:
        raise ModelFileError(f"{path} does not hold the unlabelled texts that were learned from; {AGAIN}")
    return tuple(str(row["text"]) for row in read_rows(path))


def digest_of(stored: dict[str, Any]) -> str:
    """SHA-256 over plain values, whatever their order."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()
