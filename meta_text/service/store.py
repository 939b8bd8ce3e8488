"""Classifiers as folders in one folder: loaded at start, written completely or not at all, kept in memory."""

import os
import re
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.classify.class_edits import ClassChange, Classes, report
from meta_text.classify.classifier import FewShotClassifier
from meta_text.errors import InputError, MetaTextError, ModelFileError
from meta_text.files import recover
from meta_text.model.calibration import check_rate
from meta_text.model.model import MetaModel
from meta_text.saving.model_folder import read_config
from meta_text.saving.publish import save_classifier
from meta_text.service.problems import RefusedError
from meta_text.wording import did_you_mean

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LEFT_BEHIND = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9_-]*\.[0-9a-f]{8}\.(partial|partial\.old|deleted)")
SETTINGS = "service"  # the entry of config.json that only the service reads


@dataclass(frozen=True)
class Kept:
    """A classifier in memory, and the rate at which it answers "none" unless a request names another."""

    classifier: FewShotClassifier
    reject: float | None = None


class Edited(NamedTuple):
    kept: Kept
    effects: list[ClassChange]
    notes: list[str]


class Store:
    """The classifiers of a folder, by id; `broken` has the folders that cannot be served, and why.

    A folder that is itself a saved classifier is served alone, and cannot be changed. Everything but reading is done by
    one thread. Raises ModelFileError for a folder that does not exist, or that another service has open.
    """

    def __init__(
        self, folder: Path, model: str | MetaModel = "default", device: str | None = None, most: int = 1_000
    ) -> None:
        self.folder, self.device, self.most = folder.expanduser().resolve(), device, most
        self.new = FewShotClassifier(model, device=device)  # what a new classifier starts as
        self.kept, self.broken = dict[str, Kept](), dict[str, str]()
        if not self.folder.is_dir():
            raise ModelFileError(f"no folder {folder}; create it first, or name a folder that `meta-text fit` wrote")
        self.is_single = (self.folder / "config.json").is_file()
        if self.is_single:
            self._open_single()
            return
        _ = self.new.meta_model  # loaded now: a missing model is told at the start, and the first request is quick
        self._lock = _locked(self.folder)
        _tidy(self.folder)
        for path in sorted(self.folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                try:
                    self.kept[_checked_id(path.name)] = _load(path, device)
                except Exception as error:  # whatever is wrong with one folder, the others are served
                    self.broken[path.name] = str(error) or type(error).__name__

    def _open_single(self) -> None:
        if not ID.fullmatch(self.folder.name):
            raise ModelFileError(
                f"{self.folder} is a classifier whose name cannot be an id; rename it: letters, digits, - and _"
            )
        self.kept[self.folder.name] = _load(self.folder, self.device)

    def close(self) -> None:
        """Let another service open the folder."""
        if not self.is_single:
            os.close(self._lock)

    def get(self, id: str) -> Kept:
        """Raises RefusedError (404)."""
        if id not in self.kept:
            raise RefusedError(
                404, f"no classifier {id!r}{did_you_mean(id, self.kept)}; GET /v1/classifiers lists them"
            )
        return self.kept[id]

    def create(
        self, id: str | None, texts: Sequence[str], labels: Sequence[Any], label_names: Any, reject: float | None
    ) -> tuple[str, Kept, list[str]]:
        """Learn, store and keep a new classifier; returns its id, itself, and what was noticed. Raises RefusedError (409)."""
        self._check_changeable()
        id = uuid.uuid4().hex[:16] if id is None else id
        self._check_new(id)
        classifier = copy(self.new)
        classifier.label_names = label_names
        notes = _noting(lambda: classifier.fit(list(texts), list(labels)))
        kept = Kept(classifier, reject)
        self._save(id, kept)
        return id, kept, notes

    def edit(self, id: str, edits: Callable[[FewShotClassifier], Any], reject: float | None) -> Edited:
        """Edit a copy of a classifier, store it and put it in the place of the first; nothing changes if an edit fails."""
        self._check_changeable()
        before = self.get(id)
        after = Kept(copy(before.classifier), reject)
        notes = _noting(lambda: edits(after.classifier))
        old, new = before.classifier.adaptation_, after.classifier.adaptation_
        self._save(id, after)
        return Edited(after, report(old, new) if new is not old else [], notes)

    def delete(self, id: str) -> None:
        """Remove a classifier and its folder. Raises RefusedError (404)."""
        self._check_changeable()
        self.get(id)
        gone = self.folder / f".{id}.{uuid.uuid4().hex[:8]}.deleted"
        os.rename(self.folder / id, gone)
        del self.kept[id]
        shutil.rmtree(gone, ignore_errors=True)

    def _save(self, id: str, kept: Kept) -> None:
        classifier = kept.classifier
        save_classifier(
            classifier.meta_model,
            classifier.adaptation_,
            self.folder / id,
            include_support=True,
            embed=False,
            settings={SETTINGS: {"reject": kept.reject}},
        )
        self.kept[id] = kept

    def _check_changeable(self) -> None:
        if self.is_single:
            raise RefusedError(
                409,
                f"the service was started for one saved classifier, {self.folder.name}, which it does not change; start it "
                "for the folder around it",
            )

    def _check_new(self, id: str) -> None:
        taken = {known.casefold(): known for known in [*self.kept, *self.broken]}  # as file systems may see them
        if id.casefold() in taken or (self.folder / id).exists():
            raise RefusedError(
                409,
                f"there is a classifier {taken.get(id.casefold(), id)!r} already; change it with PATCH, or choose another id",
            )
        if len(self.kept) >= self.most:
            raise RefusedError(
                409, f"the service holds {len(self.kept)} classifiers, which is its limit; delete one first"
            )


def can_change(classifier: FewShotClassifier) -> bool:
    """Whether its labelled texts were kept, and it is no student."""
    try:
        Classes.to_change(classifier.adaptation_)
    except InputError:
        return False
    return True


def _noting(act: Callable[[], Any]) -> list[str]:
    """Do it; returns the warnings that it gave."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        act()
    return list(dict.fromkeys(str(one.message) for one in given))


def _checked_id(name: str) -> str:
    if not ID.fullmatch(name):
        raise ModelFileError("its name cannot be an id; rename it: letters, digits, - and _")
    return name


def _load(folder: Path, device: str | None) -> Kept:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labelled texts, told when they were learned
        classifier = FewShotClassifier.from_pretrained(folder, device=device)
    if not classifier.__sklearn_is_fitted__():
        raise ModelFileError(
            f"{folder} has learned no categories yet; run `meta-text fit {folder} FILE --out NEW_FOLDER`"
        )
    if classifier.meta_model.reads_vectors:
        raise ModelFileError(f"{folder} answers ready vectors, but requests bring texts; fit it with another embedding")
    settings = read_config(folder).get(SETTINGS)
    reject = settings.get("reject") if isinstance(settings, dict) else None
    if reject is not None:
        check_rate(reject)
    return Kept(classifier, reject)


def _tidy(folder: Path) -> None:
    """Finish what a killed service left half done, and remove what it left over."""
    for path in sorted(folder.glob(".*.partial.old")):
        if LEFT_BEHIND.fullmatch(path.name):
            recover(folder / path.name.split(".")[1])
    for path in folder.iterdir():
        if LEFT_BEHIND.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _locked(folder: Path) -> int:
    """An open file that keeps other services out of the folder until it is closed, also by a crash."""
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    if sys.platform == "win32":
        return file
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise MetaTextError(
            f"{folder} is served by another process; stop that one, or start this one on another folder"
        ) from None
    return file
