"""MultiLabelFewShotClassifier: each text has none, one or several of the labels."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from meta_text.classify.answers import warn_of_reading
from meta_text.classify.class_edits import check_names, readable
from meta_text.classify.label_audit import LabelAudit, audit_labels
from meta_text.classify.label_edits import LabelEdits, label_names_of, labelled, warn_of_empty
from meta_text.classify.label_sets import as_columns, read_label_sets
from meta_text.corpus.labels import label_array, texts_or_none
from meta_text.embedding.given_vectors import row_texts
from meta_text.embedding.reading import Progress, Represented
from meta_text.errors import ConfigError
from meta_text.model.model import MetaModel
from meta_text.model.multilabel import LabelAdaptation, Labelled
from meta_text.model.task import Label, fingerprint
from meta_text.saving import loading
from meta_text.saving.label_folder import load_labels, save_labels
from meta_text.wording import are, counted


class MultiLabelFewShotClassifier(LabelEdits, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Adapts a meta-trained model to labels of which a text may have none, one or several.

    model, embedding, device: as for `FewShotClassifier`; the model must work on sentence encoders, as the default does.
    label_names: True to use labels as texts too; or {label: description}, also for labels without any text. A name counts
        less the more labelled texts there are.

    After `fit`: classes_ (the labels, in column order), thresholds_ (the probability from which `predict` gives each of
    them), support_ (label -> its texts), n_cut_ (labelled texts too long to be read).
    """

    def __init__(
        self,
        model: str | Path | MetaModel = "default",
        *,
        embedding: Any = None,
        label_names: Any = False,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.embedding = embedding
        self.label_names = label_names
        self.device = device

    def fit(
        self, X: Any, y: Any, progress: Progress | None = None, unlabeled: Any = None
    ) -> "MultiLabelFewShotClassifier":
        """Learn from texts X and their labels y; progress(done, total) is called while the texts are read.

        X: as for `FewShotClassifier`. y: a list of labels for each text, empty for a text that has none; or an indicator
        matrix [len(X), labels], as `read_label_sets` reads it. A text that comes several times, in any spelling, has all
        the labels that it is given. unlabeled: texts such as will be asked, with any labels or none, from which labels are
        learned, too, if there are 100 or more. Of more than 2,000 that many are read; blank ones are not.

        Raises InputError for what is not one text and one set of labels each, and for unlabelled texts that are all blank;
        ConfigError for a model that reads token states.
        """
        given = labelled(self._as_texts(X), read_label_sets(y), self.label_names)
        self._start(given.among(() if unlabeled is None else readable(self._as_texts(unlabeled))), progress)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """How probable each label is [len(X), len(classes_)], each for itself: rows do not sum to 1.

        A blank or missing text has every label with probability 0; one warning says how many there are.
        """
        return self._probabilities(self._as_texts(X))

    def predict(self, X: Any) -> np.ndarray:
        """An indicator matrix [len(X), len(classes_)] of int: 1 where a label is at least as probable as its threshold."""
        adapted = self._adapted()
        return (self._probabilities(self._as_texts(X)) >= adapted.thresholds).astype(int)

    def predict_labels(self, X: Any) -> list[list[Label]]:
        """The labels of each text, the most probable first; an empty list for a text that has none."""
        return self.labels_of(self._probabilities(self._as_texts(X)))

    def labels_of(self, probabilities: np.ndarray) -> list[list[Label]]:
        """The labels that probabilities [texts, labels] of `predict_proba` give, the most probable first."""
        thresholds, labels = self._adapted().thresholds, self.classes_.tolist()
        return [
            [labels[i] for i in np.argsort(-row, kind="stable") if row[i] >= thresholds[i]] for row in probabilities
        ]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of texts whose labels are all right and complete; y in any form that `fit` takes."""
        has = as_columns(read_label_sets(y), self.classes_.tolist())
        return float(accuracy_score(has, self.predict(X).astype(bool), sample_weight=sample_weight))

    def audit(self) -> LabelAudit:
        """Leave-one-out over the labelled texts: what to expect without a test set, and labels that are probably wrong."""
        return audit_labels(self._adapted())

    def fingerprint(self) -> str:
        """SHA-256 over labels and task: equal for the same labels learned in the same way."""
        return fingerprint(self._adapted().task, self.classes_.tolist())

    def save_pretrained(self, save_directory: str | Path, *, include_support: bool = False) -> None:
        """Write the model and its labels: safetensors and JSON only, all or nothing.

        include_support=True also writes the labelled texts, which may be private: without them the loaded classifier answers,
        but cannot be changed or audited.
        """
        save_labels(self._adapted(), save_directory, include_support=include_support)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        device: str | None = None,
        embedding: Any = None,
    ) -> "MultiLabelFewShotClassifier":
        """A fitted classifier from a folder, or from one snapshot of a Hub repository.

        embedding: an encoder that only its owner can make, for a classifier that was saved with it.
        Raises ModelFileError for a broken folder, or one without labels; HubError if the Hub refuses or is out of reach.
        """
        folder = loading.find_folder(pretrained_model_name_or_path, revision, cache_dir, token, local_files_only)
        classifier = cls(str(folder), embedding=embedding, device=device)
        adapted = load_labels(folder, classifier.meta_model)
        classifier.label_names = label_names_of(adapted.given)
        classifier._take(adapted)
        return classifier

    @property
    def meta_model(self) -> MetaModel:
        """The meta-trained model, loaded at first use and shared between clones."""
        if not isinstance(self.model, MetaModel):
            return loading.shared_model(str(self.model), self.device, self.embedding)
        if self.embedding is not None:
            raise ConfigError("model is a MetaModel, which has its encoders; leave embedding out")
        return self.model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        tags.classifier_tags.multi_label = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "adaptation_")

    def _start(self, given: Labelled, progress: Progress | None = None) -> None:
        before = self.adaptation_ if self.__sklearn_is_fitted__() else None
        check_names(given.names, reads_vectors=self.meta_model.reads_vectors)
        warn_of_empty(given)
        learned = LabelAdaptation.learn(self.meta_model, given, before, progress)
        self._take(learned)
        warn_of_learned(learned, before)

    def _take(self, adapted: LabelAdaptation) -> None:
        given = adapted.given
        self.adaptation_ = adapted
        self.classes_ = label_array(given.labels)
        self.thresholds_ = adapted.thresholds
        self.support_ = {
            label: [text for text, has in zip(given.texts, column, strict=True) if has]
            for label, column in zip(given.labels, given.has.T, strict=True)
        }
        self.n_cut_ = sum(text in adapted.cut for text in given.texts)

    def _adapted(self) -> LabelAdaptation:
        check_is_fitted(
            self,
            msg="this %(name)s has learned no labels yet; call fit(texts, labels) first, with a list of labels for each text",
        )
        adapted: LabelAdaptation = self.adaptation_
        return adapted

    def _as_texts(self, X: Any) -> Any:
        """X as it is; or, where it is an array of vectors, each row written as a text."""
        return row_texts(X) if self.meta_model.reads_vectors else X

    def _probabilities(self, X: Any) -> np.ndarray:
        adapted = self._adapted()
        texts = texts_or_none(X)
        there = [text is not None for text in texts]
        read = adapted.represent([text for text in texts if text is not None])
        warn_of_reading(read, adapted.model.embedding.model, len(read.parts), stacklevel=5)
        probabilities = np.zeros((len(texts), len(adapted.given.labels)))
        probabilities[there] = adapted.probabilities(read.parts)
        if blank := texts.count(None):
            warnings.warn(
                f"{blank} of {counted(len(texts), 'text')} {are(blank)} blank or missing; the answer is no label",
                stacklevel=4,
            )
        return probabilities


def warn_of_learned(adapted: LabelAdaptation, before: LabelAdaptation | None) -> None:
    """One warning each if texts or names that were not learned `before` are too long or in an unknown script."""
    cut = adapted.cut if before is None else adapted.cut - before.cut
    unread = adapted.unread if before is None else adapted.unread - before.unread
    names = len(adapted.given.names or ())
    read = Represented([], [True] * len(cut), [True] * len(unread))
    warn_of_reading(read, adapted.model.embedding.model, len(adapted.given.texts) + names, stacklevel=5)
