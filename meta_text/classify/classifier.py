"""FewShotClassifier: a scikit-learn classifier that learns from a handful of labelled texts."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import PyTorchModelHubMixin
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from meta_text.classify import audit as auditing
from meta_text.classify.class_edits import ClassChange, Classes, report
from meta_text.corpus.labels import check_labels, check_texts, plain, under_two_labels, words
from meta_text.model.adaptation import Adaptation, Label
from meta_text.model.model import MetaModel, Progress
from meta_text.saving import loading, publish
from meta_text.saving.class_folder import load_adaptation

PUSH_OPTIONS = ("token", "private", "branch", "commit_message")


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
        text; or a `datasets.ClassLabel`. A name fades as labelled texts are added. False or None: names do not count.
    device: "cpu", "cuda", ...; None takes CUDA if there is one.

    Labels come back as they were given: the integers of a `ClassLabel` as integers, which its `int2str` names.

    After `fit`: classes_ (sorted, in column order), support_ (label -> its texts), n_cut_ (labelled texts
    that were too long to be read whole).
    """

    def __init__(
        self, model: str | Path | MetaModel = "default", *, label_names: Any = False, device: str | None = None
    ) -> None:
        self.model = model
        self.label_names = label_names
        self.device = device

    def fit(self, X: Any, y: Any, progress: Progress | None = None) -> "FewShotClassifier":
        """Learn from texts X and their labels y: str, int or bool, one a text; progress(done, total) while they are read.

        Raises ValueError for texts that are no non-empty strings, labels that are missing, mixed or more than
        one a text, and for lengths that differ. The same text under two labels is warned of.
        """
        labels, texts, described = check_labels(y), check_texts(X), self._described()
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels; one label for each text is needed")
        support: dict[Label, list[str]] = {label: [] for label in (*labels, *described)}
        if not support:
            raise ValueError("no text and no described class; give labelled texts, or label_names={label: description}")
        for text, label in zip(texts, labels, strict=True):
            support[label].append(text)
        names = {label: words(label) for label in support} if self.label_names is True else described or None
        missing = [] if names is None else [label for label in support if label not in names]
        if missing:
            raise ValueError(f"label_names has no description of {missing[0]!r}; describe every class or none")
        self._start(Classes(support, names), progress)
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
        Classes.of(self._adapted())  # raises where the texts were not saved
        return auditing.audit(self._adapted())

    def suggest(self, X: Any, n: int = 10) -> list[int]:
        """Positions in X of up to n texts most worth labelling next: uncertain, and unlike one another.

        Copies, of one another or of labelled texts, are left out.
        """
        return auditing.suggest(self._adapted(), check_texts(X), n)

    def add_class(self, label: Label, texts: Sequence[str], description: str | None = None) -> list[ClassChange]:
        """Learn one more class; reports what that did to the others.

        description: the class as a text, where the others have one; `texts` may then be empty.
        """
        return self._change(Classes.of(self._adapted()).added(label, texts, description))

    def remove_class(self, label: Label) -> list[ClassChange]:
        """Forget a class and its texts."""
        return self._change(Classes.of(self._adapted()).removed(label))

    def rename_class(self, label: Label, new: Label, description: str | None = None) -> None:
        """Give a class another label; its texts stay, and so does a description unless there is a new one."""
        self._start(Classes.of(self._adapted()).renamed(label, new, description))

    def add_examples(self, X: Any, y: Any) -> list[ClassChange]:
        """More labelled texts for classes that are there."""
        return self._change(Classes.of(self._adapted()).with_examples(X, y))

    def remove_examples(self, X: Any) -> list[ClassChange]:
        """Forget these labelled texts, wherever they stand."""
        return self._change(Classes.of(self._adapted()).without_examples(X))

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
        unknown = sorted(options.keys() - {*(PUSH_OPTIONS if push_to_hub else ())})
        if unknown:
            raise TypeError(
                f"save_pretrained has no option {unknown[0]!r}; {', '.join(PUSH_OPTIONS)} go with push_to_hub"
            )
        adapted = self.adaptation_ if self.__sklearn_is_fitted__() else None
        publish.save_classifier(
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
        return publish.push_classifier(
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
        from meta_text.classify.onnx_export import export_classifier

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

        cache_dir, token and local_files_only also hold for the embedding that the model needs. model_kwargs:
        label_names, as for the constructor; without it a fitted classifier has those it was fitted with. Raises
        ModelFileError for a broken or newer folder, HubError when the Hub refuses or cannot be reached.
        """
        given = "label_names" in model_kwargs
        label_names = model_kwargs.pop("label_names", False)
        if model_kwargs:
            raise TypeError(f"from_pretrained has no option {sorted(model_kwargs)[0]!r}")
        name = str(pretrained_model_name_or_path)
        folder = loading.find_folder(name, revision, cache_dir, token, local_files_only, force_download)
        loading.fetch_embedding(folder, cache_dir, token, local_files_only)
        model = "default" if name == "default" else str(folder)
        classifier = cls(model, label_names=label_names, device=device)
        adapted = load_adaptation(folder, classifier.meta_model)
        if adapted is not None:
            classifier._take(adapted)
            names = Classes.names_of(adapted)
            if names is not None and not given:
                derived = all(name == words(label) for label, name in names.items())
                classifier.label_names = True if derived else names
        return classifier

    @property
    def meta_model(self) -> MetaModel:
        """The meta-trained model, loaded at first use and shared between clones."""
        if isinstance(self.model, MetaModel):
            return self.model
        return loading.shared_model(str(self.model), self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "adaptation_")

    def _start(self, classes: Classes, progress: Progress | None = None) -> None:
        labels, names = sorted(classes.support), classes.names
        bare = [label for label in labels if not classes.support[label]]
        if bare and names is None:
            raise ValueError(f"class {bare[0]!r} has no text and no name; give it texts, or use label_names")
        twice = under_two_labels(classes.support)
        if twice is not None:
            warnings.warn(twice, stacklevel=3)
        before = self.adaptation_ if self.__sklearn_is_fitted__() else None
        calibration = self.meta_model.calibration.of(names is not None)
        in_order = {label: classes.support[label] for label in labels}
        texts = None if names is None else [names[label] for label in labels]
        self._take(Adaptation.learn(self.meta_model, calibration, in_order, texts, before, progress))
        if self.adaptation_.cut - (frozenset() if before is None else before.cut):
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
        parts, is_cut = self._adapted().model.represent(texts)
        if any(is_cut):
            warnings.warn(
                f"{sum(is_cut)} of {len(texts)} texts are longer than the model reads; their ends were cut",
                stacklevel=3,
            )
        return parts

    def _described(self) -> dict[Label, str]:
        """Descriptions by label, where label_names gives them."""
        given = self.label_names
        if given is None or isinstance(given, bool):
            return {}
        if hasattr(given, "int2str"):  # datasets.ClassLabel
            return {i: words(given.int2str(i)) for i in range(given.num_classes)}
        if not isinstance(given, Mapping):
            raise ValueError(f"label_names is {given!r}; True, False, {{label: description}} or a ClassLabel is needed")
        return {plain(label): text for label, text in zip(given, check_texts(list(given.values())), strict=True)}

    def _change(self, classes: Classes) -> list[ClassChange]:
        """Learn these classes, and say what that did to those that were there and stay."""
        before = self._adapted()
        self._start(classes)
        return report(before, self._adapted())
