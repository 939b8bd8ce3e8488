"""A classifier with the call of `transformers.pipeline("text-classification")`: for programs that are handed one."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.fitted import fitted_on_texts
from meta_text.corpus.labels import plain
from meta_text.errors import InputError

NOT_GIVEN = ""  # as transformers has it, where None already means all labels


class TextClassificationPipeline:
    """Texts in, `{"label": ..., "score": ...}` out, in the form that transformers documents.

    model: a fitted FewShotClassifier, its folder, or its name on the Hub. device: where a folder is loaded to.
    top_k: a list of so many labels for each text, the best first, in place of the best alone; None for all.
    batch_size: how many items of a generator or dataset are read together.
    reject: the share of texts of your classes that may be answered with the label None, as in `predict`.

    One string gives a list of its one answer, a list gives a list, and any other iterable (generator, dataset, column) an
    iterator. An item is a string, or a dict with the key "text". A call's own `top_k` and `batch_size` replace these.
    Raises InputError for a classifier that is not fitted or was fitted on vectors, for a top_k or batch_size below 1, and for
    top_k together with reject; ModelFileError and HubError as `from_pretrained` does.
    """

    task = "text-classification"

    def __init__(
        self,
        model: str | Path | FewShotClassifier,
        *,
        top_k: int | str | None = NOT_GIVEN,
        batch_size: int = 64,
        reject: float | None = None,
        device: str | None = None,
    ) -> None:
        self.classifier = fitted_on_texts(model, device)
        self.top_k, self.batch_size, self.reject = _checked_top_k(top_k, reject), _checked_size(batch_size), reject

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | str | None = NOT_GIVEN,
        batch_size: int | None = None,
        truncation: bool = True,
    ) -> Any:
        """The answers to one or many texts.

        A label is as it was given to `fit`, None with `reject` for a text that fits no class; a score is its calibrated
        probability. truncation: for callers that pass it; a text that is too long is cut in any case, with a warning.
        Raises InputError for what is no text, for pairs of texts, and for truncation=False.
        """
        if not truncation:
            raise InputError("truncation=False, but a text longer than the model reads is cut; leave truncation out")
        chosen = self.top_k if top_k == NOT_GIVEN else _checked_top_k(top_k, self.reject)
        size = self.batch_size if batch_size is None else _checked_size(batch_size)
        if isinstance(inputs, str):
            answers = self._answers([inputs], chosen)
            return answers if top_k == NOT_GIVEN else answers[0]
        if isinstance(inputs, Mapping):
            return self._answers([_text(inputs, "inputs")], chosen)[0]
        if isinstance(inputs, list):
            return self._answers([_text(item, f"inputs[{i}]") for i, item in enumerate(inputs)], chosen)
        return self._stream(_items(inputs), chosen, size)

    def _stream(self, items: Iterator[Any], top_k: int | str | None, batch_size: int) -> Iterator[Any]:
        texts = (_text(item, f"inputs[{i}]") for i, item in enumerate(items))
        while batch := list(islice(texts, batch_size)):
            yield from self._answers(batch, top_k)

    def _answers(self, texts: list[str | None], top_k: int | str | None) -> list[Any]:
        if top_k == NOT_GIVEN:
            found = self.classifier.answers(texts, self.reject)
            return [{"label": label, "score": score} for _, label, score in found]
        labels = self.classifier.classes_.tolist()
        rows = self.classifier.predict_proba(texts)
        return [
            [{"label": labels[i], "score": float(row[i])} for i in np.argsort(-row, kind="stable")[:top_k]]
            for row in rows
        ]


def _checked_top_k(top_k: int | str | None, reject: float | None) -> int | str | None:
    if top_k != NOT_GIVEN and top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise InputError(f"top_k is {top_k!r}; a whole number from 1 on is needed, or None for all labels")
    if top_k != NOT_GIVEN and reject is not None:
        raise InputError(
            f"top_k={top_k} lists labels, and reject={reject} may answer that none of them fits; give one of the two"
        )
    return top_k


def _checked_size(batch_size: int) -> int:
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; a whole number from 1 on is needed")
    return batch_size


def _items(inputs: Any) -> Iterator[Any]:
    """What a stream consists of. A dataset of torch may have items by number alone."""
    if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
        return iter(inputs)
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__") and not isinstance(inputs, bytes):
        return (inputs[i] for i in range(len(inputs)))
    raise InputError(
        f"inputs is {inputs!r} ({type(inputs).__name__}); a text, a list of texts, or a generator or dataset of texts is needed"
    )


def _text(item: Any, name: str) -> str | None:
    """The text of an item, None if it is missing. Raises InputError for anything else."""
    if isinstance(item, Mapping):
        if "text" not in item:
            raise InputError(f"{name} has the keys {list(item)}; a text or a dict with the key 'text' is needed")
        if item.get("text_pair") is not None:
            raise InputError(f"{name} is a pair of texts, which this classifier does not read; join them into one text")
        item = item["text"]
    text = plain(item)
    if text is not None and not isinstance(text, str):
        raise InputError(f"{name} is {text!r} ({type(text).__name__}); a text is needed")
    return text
