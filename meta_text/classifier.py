"""FewShotClassifier: a scikit-learn classifier that learns from a handful of labelled texts."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import PyTorchModelHubMixin
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from meta_text import audit as auditing
from meta_text import hub
from meta_text.adaptation import Adaptation, Label
from meta_text.calibration import Calibration
from meta_text.labels import check_labels, check_texts, plain
from meta_text.model import MetaModel
from meta_text.model_folder import load_adaptation


@dataclass(frozen=True)
class ClassChange:
    """What a change of the classes did to a class that stayed, seen on that class's own labelled texts."""

    label: Label
    texts: int
    moved: int  # texts whose answer was this class and is another one now
    probability_drop: float  # mean fall of this class's probability


class FewShotClassifier(
    PyTorchModelHubMixin,
    ClassifierMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
    library_name="meta_text",
    pipeline_tag="text-classification",
):
    """Adapts a meta-trained model to any classes, from a few texts each or from their names alone.

    model: a folder, a Hub name, "default" (the model in this package), or a MetaModel.
    label_names: True to use labels as texts too; or {label: description}, also for classes without any
        text; or a `datasets.ClassLabel`. A name fades as labelled texts are added.
    device: "cpu", "cuda", ...; None takes CUDA if there is one.

    After `fit`: classes_ (sorted, in column order), support_ (label -> its texts), n_cut_ (labelled texts
    that were too long to be read whole).
    """

    def __init__(
        self, model: str | Path | MetaModel = "default", *, label_names: Any = False, device: str | None = None
    ) -> None:
        self.model = model
        self.label_names = label_names
        self.device = device

    def fit(self, X: Any, y: Any) -> "FewShotClassifier":
        """Learn from texts X and their labels y: str, int or bool, one a text.

        Raises ValueError for texts that are no non-empty strings, labels that are missing, mixed or more than
        one a text, and for lengths that differ.
        """
        texts, labels = check_texts(X), check_labels(y)
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels; one label for each text is needed")
        support: dict[Label, list[str]] = {label: [] for label in (*labels, *self._described())}
        if not support:
            raise ValueError("no text and no described class; give labelled texts, or label_names={label: description}")
        for text, label in zip(texts, labels, strict=True):
            support[label].append(text)
        self._start(support)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities [len(X), len(classes_)], columns as in classes_, rows summing to 1."""
        adapted = self._adapted()
        return adapted.probabilities(adapted.score(self._represent(check_texts(X))))

    def predict(self, X: Any, reject: float | None = None) -> np.ndarray:
        """The most probable label of each text; with reject=0.05, None where a text looks like no class.

        `reject` is the share of texts that do belong to a class which may be refused by mistake.
        """
        adapted = self._adapted()
        parts = self._represent(check_texts(X))
        found = self.classes_[adapted.probabilities(adapted.score(parts)).argmax(1)]
        if reject is None:
            return np.asarray(found)
        known = adapted.is_known(parts, reject)
        return np.array([label if is_in else None for label, is_in in zip(found, known, strict=True)], dtype=object)

    def answers(self, X: Any, reject: float | None = None) -> list[tuple[str, Label, float]]:
        """(text, label, probability) of each text; the label is None where `reject` refuses it."""
        adapted, texts = self._adapted(), check_texts(X)
        parts = self._represent(texts)
        known = np.ones(len(texts), bool) if reject is None else adapted.is_known(parts, reject)
        labels = self.classes_.tolist()
        return [
            (text, labels[row.argmax()] if is_in else None, float(row.max()))
            for text, row, is_in in zip(texts, adapted.probabilities(adapted.score(parts)), known, strict=True)
        ]

    def predict_detail(self, X: Any, reject: float = 0.05) -> list[dict[str, Any]]:
        """For each text: label, probability, all probabilities, `known` at this rate, the nearest labelled text, and why."""
        adapted, texts = self._adapted(), check_texts(X)
        return auditing.detail(adapted, self.classes_.tolist(), texts, reject)

    def audit(self) -> auditing.Audit:
        """Leave-one-out over the labelled texts: expected accuracy with no test set, and texts probably mislabelled."""
        self._support()
        return auditing.audit(self._adapted())

    def suggest(self, X: Any, n: int = 10) -> list[int]:
        """Positions in X of the n texts most worth labelling next: uncertain, and unlike one another."""
        return auditing.suggest(self._adapted(), check_texts(X), n)

    def add_class(self, label: Label, texts: Sequence[str]) -> list[ClassChange]:
        """Learn one more class; reports what that did to the others."""
        self._support()
        if label in self.support_:
            raise ValueError(f"class {label!r} is there already; use add_examples for more texts of it")
        return self._changed({**self.support_, plain(label): check_texts(texts)})

    def remove_class(self, label: Label) -> list[ClassChange]:
        """Forget a class and its texts."""
        support = dict(self._support())
        del support[self._known(label)]
        if not support:
            raise ValueError(f"class {label!r} is the only one; fit again to start over")
        return self._changed(support)

    def rename_class(self, label: Label, new: Label) -> None:
        """Give a class another label; its texts stay."""
        old = self._known(label)
        if new in self.support_:
            raise ValueError(f"class {new!r} is there already; choose another label")
        self._start({plain(new) if name == old else name: texts for name, texts in self._support().items()})

    def add_examples(self, X: Any, y: Any) -> list[ClassChange]:
        """More labelled texts for classes that are there."""
        support = {label: list(texts) for label, texts in self._support().items()}
        for text, label in zip(check_texts(X), check_labels(y), strict=True):
            support[self._known(label)].append(text)
        return self._changed(support)

    def remove_examples(self, X: Any) -> list[ClassChange]:
        """Forget these labelled texts, wherever they stand."""
        gone = set(check_texts(X))
        support = {label: [t for t in texts if t not in gone] for label, texts in self._support().items()}
        missing = gone - {text for texts in self._support().values() for text in texts}
        if missing:
            raise ValueError(f"{len(missing)} of these texts were never learned, such as {sorted(missing)[0]!r}")
        empty = [label for label, texts in support.items() if not texts and label not in self._described()]
        if empty:
            raise ValueError(f"class {empty[0]!r} would have no text left; use remove_class to forget it")
        return self._changed(support)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        include_support: bool = False,
        embed: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **options: Any,
    ) -> str | None:
        """Write the model and, if fitted, its classes: safetensors and JSON only, all or nothing.

        include_support=True also writes the labelled texts, which may be private: without them the loaded
        classifier answers, but cannot be changed. embed=True also writes the embedding's weights.
        """
        for unused in ("config", "model_card_kwargs", "is_main_process"):  # of the mixin's signature
            options.pop(unused, None)
        adapted = self.adaptation_ if self.__sklearn_is_fitted__() else None
        hub.save_classifier(
            self.meta_model, adapted, save_directory, include_support=include_support, embed=embed, repo_id=repo_id
        )
        if not push_to_hub:
            return None
        target = repo_id or Path(save_directory).name
        return self.push_to_hub(target, include_support=include_support, embed=embed, **options)

    def push_to_hub(self, repo_id: str, *, include_support: bool = False, embed: bool = False, **options: Any) -> str:
        """Publish in one commit, so that nothing is ever half there; returns the commit's address.

        Options: token, private, branch, commit_message. Raises HubError with the way out when the Hub
        refuses or cannot be reached.
        """
        adapted = self.adaptation_ if self.__sklearn_is_fitted__() else None
        return hub.push_classifier(
            self.meta_model, adapted, repo_id, include_support=include_support, embed=embed, **options
        )

    def fingerprint(self) -> str:
        """The same for the same classes learned alike: SHA-256 over labels and task."""
        adapted = self._adapted()
        digest = hashlib.sha256(repr(self.classes_.tolist()).encode())
        for name, tensor in sorted(adapted.task.items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def export_onnx(self, target: str | Path) -> None:
        """Write embedding, encoder and head as one ONNX file (extra `[onnx]`): token ids in, probabilities out.

        It reads one window, so longer texts are cut at the model's max_tokens. Raises ExportError where the
        encoder has no ONNX form.
        """
        from meta_text.onnx_export import export_classifier

        export_classifier(self._adapted(), Path(target))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path = "default",
        *,
        force_download: bool = False,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        device: str | None = None,
        **model_kwargs: Any,
    ) -> "FewShotClassifier":
        """A classifier from a folder, or from one snapshot of a Hub repository; fitted if it was saved fitted.

        model_kwargs: label_names, as for the constructor. Raises ModelFileError for a broken or newer
        folder, HubError when the Hub refuses or cannot be reached.
        """
        label_names = model_kwargs.pop("label_names", False)
        if model_kwargs:
            raise TypeError(f"from_pretrained has no option {sorted(model_kwargs)[0]!r}")
        name = str(pretrained_model_name_or_path)
        folder = hub.find_folder(name, revision, cache_dir, token, local_files_only, force_download)
        model = "default" if name == "default" else str(folder)
        classifier = cls(model, label_names=label_names, device=device)
        adapted = load_adaptation(folder, classifier.meta_model)
        if adapted is not None:
            classifier._take(adapted)
        return classifier

    @property
    def meta_model(self) -> MetaModel:
        """The meta-trained model, loaded at first use and shared between clones."""
        if isinstance(self.model, MetaModel):
            return self.model
        return hub.shared_model(str(self.model), self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "adaptation_")

    def _start(self, support: Mapping[Label, Sequence[str]]) -> None:
        labels = sorted(support)
        described = self._described()
        names = None
        if self.label_names is True:
            names = [str(label).replace("_", " ") for label in labels]
        elif described:
            missing = [label for label in labels if label not in described]
            if missing:
                raise ValueError(f"label_names has no description of {missing[0]!r}; describe every class or none")
            names = [described[label] for label in labels]
        kept = self.adaptation_.features if self.__sklearn_is_fitted__() else {}
        calibration = Calibration.of(self.meta_model.calibration, names is not None)
        in_order = {label: support[label] for label in labels}
        self._take(Adaptation.learn(self.meta_model, calibration, in_order, names, kept))
        if self.n_cut_:
            warnings.warn(
                f"{self.n_cut_} labelled texts are longer than the model reads; their ends were cut", stacklevel=3
            )

    def _take(self, adapted: Adaptation) -> None:
        self.adaptation_ = adapted
        self.classes_ = np.array(list(adapted.support))
        self.support_ = {label: list(texts) for label, texts in adapted.support.items()}
        self.n_cut_ = adapted.n_cut

    def _adapted(self) -> Adaptation:
        check_is_fitted(self)
        adapted: Adaptation = self.adaptation_
        return adapted

    def _represent(self, texts: Sequence[str]) -> list[Tensor]:
        parts, cut = self.meta_model.represent(texts)
        if cut:
            warnings.warn(
                f"{cut} of {len(texts)} texts are longer than the model reads; their ends were cut", stacklevel=3
            )
        return parts

    def _described(self) -> dict[Label, str]:
        """Descriptions by label, where label_names gives them."""
        given = self.label_names
        if isinstance(given, bool):
            return {}
        if hasattr(given, "int2str"):  # datasets.ClassLabel
            return {i: given.int2str(i).replace("_", " ") for i in range(given.num_classes)}
        if not isinstance(given, Mapping):
            raise ValueError(f"label_names is {given!r}; True, False, {{label: description}} or a ClassLabel is needed")
        return {plain(label): text for label, text in zip(given, check_texts(list(given.values())), strict=True)}

    def _support(self) -> dict[Label, list[str]]:
        """The labelled texts. Raises ValueError for a classifier that was saved without them."""
        adapted = self._adapted()
        if adapted.shots and not any(adapted.support.values()):
            raise ValueError(
                "this classifier was saved without its labelled texts, so it can answer but not change; "
                "save it with include_support=True, or fit again"
            )
        return {label: list(texts) for label, texts in self.support_.items()}

    def _known(self, label: Label) -> Label:
        if label not in self.support_:
            raise ValueError(f"there is no class {label!r}; there are {', '.join(map(repr, self.support_))}")
        return plain(label)

    def _changed(self, support: Mapping[Label, Sequence[str]]) -> list[ClassChange]:
        """Learn these classes, and say what that did to those that were there and stay."""
        before = self._adapted()
        self._start(support)
        after = self._adapted()
        stayed = [label for label, texts in before.support.items() if texts and label in after.support]
        if not stayed:
            return []
        parts = [before.features[text] for label in stayed for text in before.support[label]]
        old_all, new_all = (task.probabilities(task.score(parts)) for task in (before, after))
        old_labels, new_labels = list(before.support), list(after.support)
        changes, start = [], 0
        for label in stayed:
            end = start + len(before.support[label])
            old, new, start = old_all[start:end], new_all[start:end], end
            i, j = old_labels.index(label), new_labels.index(label)
            moved = int(((old.argmax(1) == i) & (new.argmax(1) != j)).sum())
            changes.append(ClassChange(label, len(old), moved, float((old[:, i] - new[:, j]).mean())))
        return changes
