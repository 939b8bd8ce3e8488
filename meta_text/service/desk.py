"""What the routes do: check a request against the limits, and give it to the worker."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Annotated, Any

from fastapi import Path, Response
from prometheus_client import CONTENT_TYPE_LATEST

import meta_text
from meta_text.classify.answers import answer
from meta_text.classify.class_edits import Classes
from meta_text.classify.classifier import FewShotClassifier
from meta_text.service import bodies
from meta_text.service.limits import Limits
from meta_text.service.numbers import Numbers
from meta_text.service.problems import RefusedError
from meta_text.service.store import Kept, Store, can_change
from meta_text.service.worker import Worker, waited_too_long

Id = Annotated[bodies.Id, Path()]


class Desk:
    """The routes over a store. Everything that torch computes or that is written is done by one worker."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store, self.limits = store, limits
        self.numbers = Numbers(lambda: self.worker.waiting, lambda: len(store.kept))
        self.worker = Worker(limits.waiting, limits.seconds, self.numbers.batched)
        self.changes = threading.BoundedSemaphore(limits.changes)

    async def predict(self, asked: bodies.Asked) -> bodies.Answers:
        """The label and the calibrated probabilities of each text; with a rate, 'none' for texts that look like no class."""
        self.limits.check_texts(asked.texts, "texts")
        kept = self.store.get(asked.classifier)
        rate = kept.reject if asked.reject is None else asked.reject
        work = partial(_answers, kept.classifier, rate)
        answers = await self._done(self.worker.submit(work, asked.texts, (id(kept), rate)))
        classes = kept.classifier.classes_.tolist()
        return bodies.Answers(classifier=asked.classifier, classes=classes, reject=rate, answers=list(answers))

    async def list_classifiers(self) -> bodies.Listed:
        return bodies.Listed(classifiers=[_summary(id, kept) for id, kept in sorted(self.store.kept.items())])

    async def show_classifier(self, id: Id) -> bodies.Classifier:
        return bodies.Classifier(**_shown(id, self.store.get(id)))

    async def create_classifier(self, new: bodies.NewClassifier) -> bodies.Classifier:
        """Learn from labelled texts; the classifier is on disk before the answer comes."""
        texts, labels = [one.text for one in new.examples], [one.label for one in new.examples]
        names = new.label_names if isinstance(new.label_names, dict) else {}
        self.limits.check_texts(texts, "examples")
        for label, name in names.items():
            self.limits.check_text(name, f"label_names.{label}")
        self.limits.check_classes([*labels, *names])
        make = partial(self.store.create, new.id, texts, labels, new.label_names, new.reject)
        id, kept, notes = await self._changed(make)
        return bodies.Classifier(**_shown(id, kept), notes=notes)

    async def change_classifier(self, id: Id, change: bodies.Change) -> bodies.Changed:
        """All edits or none; the changed classifier is on disk before the answer comes."""
        if not change.model_fields_set:
            raise RefusedError(
                422, "the change is empty; give add_classes, add_examples, remove_examples, remove_classes or reject"
            )
        self._check(id, change)
        reject = change.reject if "reject" in change.model_fields_set else self.store.get(id).reject
        kept, effects, notes = await self._changed(partial(self.store.edit, id, partial(_edit, change), reject))
        shown = [
            bodies.Effect(label=one.label, examples=one.texts, moved=one.moved, probability_drop=one.probability_drop)
            for one in effects
        ]
        return bodies.Changed(**_shown(id, kept), notes=notes, effects=shown)

    async def delete_classifier(self, id: Id) -> Response:
        self.store.get(id)
        await self._changed(partial(self.store.delete, id))
        return Response(status_code=204)

    async def health(self) -> bodies.Health:
        if not self.worker.thread.is_alive():
            raise RefusedError(503, "the worker has stopped; start the service again")
        count = len(self.store.kept)
        return bodies.Health(status="ok", version=meta_text.__version__, classifiers=count, waiting=self.worker.waiting)

    async def metrics(self) -> Response:
        return Response(self.numbers.page(), media_type=CONTENT_TYPE_LATEST)

    def _check(self, id: str, change: bodies.Change) -> None:
        """Refuses a change that breaks a limit, or would make the classifier do so."""
        added = [text for one in change.add_classes for text in one.texts] + [one.text for one in change.add_examples]
        self.limits.check_texts([*added, *change.remove_examples], "texts")
        for one in change.add_classes:
            if one.description is not None:
                self.limits.check_text(one.description, "description")
        support = self.store.get(id).classifier.support_
        self.limits.check_classes([*support, *(one.label for one in change.add_classes)])
        self.limits.check_labelled(sum(map(len, support.values())) + len(added))

    async def _changed(self, act: Callable[[], Any]) -> Any:
        """What came of a change, when its turn has come. Raises RefusedError (429) where too many wait already."""
        if not self.changes.acquire(blocking=False):
            raise RefusedError.for_now(429, f"{self.limits.changes} changes wait already, which is the limit")
        try:
            future = self.worker.submit(lambda _: [act()], [None])
        except RefusedError:
            self.changes.release()
            raise
        future.add_done_callback(lambda _: self.changes.release())
        (result,) = await self._done(future)
        return result

    async def _done(self, future: Future[Sequence[Any]]) -> Sequence[Any]:
        """The results, once they are there. What has not begun is dropped when time is up or the client is gone."""
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also if nobody waits
        try:
            done, _ = await asyncio.wait({waited}, timeout=self.limits.seconds)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not done and future.cancel():
            raise waited_too_long(self.limits.seconds)
        return await waited


def _answers(classifier: FewShotClassifier, rate: float | None, texts: Sequence[str]) -> list[bodies.Answer]:
    found = answer(classifier.adaptation_, list(texts), rate)
    labels = found.labels(classifier.classes_.tolist())
    return [
        bodies.Answer(label=label, none=label is None, probability=max(row), probabilities=row)
        for label, row in zip(labels, found.probabilities.tolist(), strict=True)
    ]


def _edit(change: bodies.Change, classifier: FewShotClassifier) -> None:
    for new in change.add_classes:
        classifier.add_class(new.label, new.texts, new.description)
    if change.add_examples:
        classifier.add_examples([one.text for one in change.add_examples], [one.label for one in change.add_examples])
    if change.remove_examples:
        classifier.remove_examples(change.remove_examples)
    for label in change.remove_classes:
        classifier.remove_class(label)


def _summary(id: str, kept: Kept) -> bodies.Summary:
    support = kept.classifier.support_
    return bodies.Summary(id=id, classes=len(support), examples=sum(map(len, support.values())))


def _shown(id: str, kept: Kept) -> dict[str, Any]:
    descriptions = Classes.descriptions_of(kept.classifier.adaptation_) or {}
    classes = [
        bodies.KeptClass(label=label, examples=len(texts), description=descriptions.get(label))
        for label, texts in kept.classifier.support_.items()
    ]
    return {"id": id, "classes": classes, "reject": kept.reject, "can_change": can_change(kept.classifier)}
