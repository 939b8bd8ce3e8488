"""FewShotClassifier: a scikit-learn classifier that learns from a handful of labelled texts."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from meta_text.classify import audit as auditing
from meta_text.classify.answers import answer, warn_of_labelled
from meta_text.classify.class_edits import ClassChange, Classes, report
from meta_text.classify.class_prior import after_edit, prior_of, shares_of
from meta_text.classify.distill import distilled
from meta_text.classify.explain import Explaining
from meta_text.classify.suggest import suggest
from meta_text.corpus.labels import label_array, object_array, texts_or_none
from meta_text.embedding.given_vectors import row_texts
from meta_text.embedding.reading import Progress
from meta_text.errors import ConfigError
from meta_text.model.adaptation import Adaptation
from meta_text.model.model import MetaModel
from meta_text.model.moved_adaptation import check_effort, follow, moved
from meta_text.model.task import Label, fingerprint
from meta_text.saving import loading, publish
from meta_text.saving.class_folder import load_adaptation


class FewShotClassifier(Explaining, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Adapts a meta-trained model to any classes, from a few texts each or from their names alone.

    model: a folder, a Hub name, "default" (the model in this package), or a MetaModel.
    embedding: the encoders that read the texts, if not those of the model: "auto" (MiniLM, E5 and "lexical", counts of n-grams),
        "fast" (MiniLM alone), "minilm", "e5", a Hub name, a folder, a function from a list of texts to vectors,
        "vectors" (X is an array [n, width]), or a list of these, which every task weighs (see `open_encoders`).
    label_names: True to use labels as texts too; or {label: description}, also for classes without any
        text; or a `datasets.ClassLabel`. A name counts less the more labelled texts there are. False or None: no names.
    class_prior: how often each class is asked: "balanced", "support", "unlabeled" (as among such texts) or {label: share}.
    device: "cpu", "cuda", ...; None takes CUDA if there is one.

    Labels are returned as given. Those of a `ClassLabel` are integers; its `int2str` gives their names.
    After `fit`: classes_ (sorted, in column order), support_ (label -> its texts), n_cut_ (labelled texts too long to be read).
    """

    def __init__(
        self,
        model: str | Path | MetaModel = "default",
        *,
        embedding: Any = None,
        label_names: Any = False,
        class_prior: Any = "balanced",
        device: str | None = None,
    ) -> None:
        self.model = model
        self.embedding = embedding
        self.label_names = label_names
        self.class_prior = class_prior
        self.device = device

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        progress: Progress | None = None,
        bad_rows: str = "raise",
        effort: str = "normal",
        unlabeled: Any = None,
    ) -> "FewShotClassifier":
        """Learn from texts X and their labels y; progress(done, total) is called while the texts are read.

        X and y: lists, generators, and columns or arrays of NumPy, pandas, polars, pyarrow, torch and `datasets`. Labels are
        all str, all int or all bool; whole floats count as int, UTF-8 bytes as str. Copies of a text under one label, whatever
        their case, white space or Unicode form, count once. Warnings name labels that differ only in outer white space (one
        class, named without it), only in case or in what cannot be seen (two classes), and a text under two labels.

        sample_weight: how much each text counts beside the others of its class, in class means, in the losses of the steps and
        of logistic regression, and where labels are held out. Classes count alike, so only ratios within one matter. 0: as if
        not given; of copies, the largest counts; texts added later weigh 1. `audit` and class_prior="support" ignore weights.
        bad_rows: "raise" refuses a blank or missing text or label, naming the row; "skip" drops such rows and warns how many.
        effort: "high" takes up to a minute more and moves the upper layers of one encoder on these texts, where that helps on
        labels that are held out (extra `[effort]`); `audit` says what it brought. progress then starts anew.
        unlabeled: texts such as will be asked, of any class or none: from 100 on, they show where the classes lie, unless held-out
        labels speak against it, and set the thresholds of `reject`. Of more than 10,000 that many are read; blank ones are not.

        Raises ConfigError for another effort, or if no encoder can move; InputError for what is not one text and one label
        each, for weights that are no finite numbers from 0 on, and for a class whose texts all weigh 0.
        """
        check_effort(effort)
        classes = Classes.labelled(self._as_texts(X), y, self.label_names, bad_rows, sample_weight)
        classes = classes.among(unlabeled if unlabeled is None else self._as_texts(unlabeled))
        self._start(classes, progress, effort=effort)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities [len(X), len(classes_)], columns as in classes_, rows summing to 1.

        A blank or missing text gets the same probability for every class; one warning says how many there are.
        """
        return answer(self._adapted(), self._as_texts(X), None).probabilities

    def predict(self, X: Any, reject: float | None = None) -> np.ndarray:
        """The most probable label of each text; with reject=0.05, None for a text that fits no class.

        `reject`: the share of texts that belong to a class but are answered None. A blank or missing text is answered None with
        `reject`, and the first of classes_ without it.
        """
        answers = answer(self._adapted(), self._as_texts(X), reject)
        if answers.known is None:
            return np.asarray(self.classes_[answers.probabilities.argmax(1)])
        return object_array(answers.labels(self.classes_.tolist()))

    def answers(self, X: Any, reject: float | None = None) -> list[tuple[str | None, Label, float]]:
        """(text, label, probability) for each text; the label is None if `reject` rejects the text."""
        answers = answer(self._adapted(), self._as_texts(X), reject)
        labels = answers.labels(self.classes_.tolist())
        return list(zip(answers.texts, labels, answers.probabilities.max(1).tolist(), strict=True))

    def audit(self) -> auditing.Audit:
        """Leave-one-out over the labelled texts: expected accuracy without a test set, and probably mislabelled texts."""
        return auditing.audit(self._adapted())

    def suggest(self, X: Any, n: int = 10) -> list[int]:
        """Positions in X of up to n texts most worth labelling next, the best first; before `fit`, to start with.

        Copies and near copies of one another, copies of labelled texts, and blank or missing texts are left out.
        """
        return suggest(self.meta_model, getattr(self, "adaptation_", None), texts_or_none(self._as_texts(X)), n)

    def add_class(self, label: Label, texts: Any, description: str | None = None) -> list[ClassChange]:
        """Learn one more class; returns the effect on the others.

        description: a text that describes the class, if the others have one; `texts` may then be empty.
        """
        return self._change(Classes.to_change(self._adapted()).added(label, self._as_texts(texts), description))

    def remove_class(self, label: Label) -> list[ClassChange]:
        """Remove a class and its texts; returns the effect on the others."""
        return self._change(Classes.to_change(self._adapted()).removed(label))

    def rename_class(self, label: Label, new: Label, description: str | None = None) -> None:
        """Give a class another label; its texts stay, and so does its description unless a new one is given."""
        before = self._adapted()
        self._start(Classes.to_change(before).renamed(label, new, description), old=before)

    def add_examples(self, X: Any, y: Any) -> list[ClassChange]:
        """Add labelled texts to existing classes."""
        return self._change(Classes.to_change(self._adapted()).with_examples(self._as_texts(X), y))

    def remove_examples(self, X: Any) -> list[ClassChange]:
        """Remove these labelled texts from whichever classes have them."""
        return self._change(Classes.to_change(self._adapted()).without_examples(self._as_texts(X)))

    def distill(self, texts: Any, progress: Progress | None = None) -> "FewShotClassifier":
        """A new fitted classifier, the student: the cheapest encoder of this one, the teacher, answering as all of them do.

        texts: unlabelled, such as will be asked; a hundred at least, better thousands, of which 10,000 are read. progress(texts
        read, total). `audit` says how often the student agrees with its teacher on texts that it was not taught on. It is saved
        and exported like any other; its classes can only be changed in the teacher.

        Raises ConfigError if no encoder is cheaper than those in use, InputError for too few texts or a teacher without its own.
        """
        adapted = distilled(self._adapted(), self._as_texts(texts), progress)
        student = FewShotClassifier(adapted.model, label_names=self.label_names, class_prior=self.class_prior)
        student._take(adapted)
        return student

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

        include_support=True also writes the labelled texts, which may be private: without them the loaded classifier answers,
        but cannot be changed. embed=True also writes the embedding's weights.
        """
        options = publish.push_options(options, push_to_hub)
        adapted = self.adaptation_ if self.__sklearn_is_fitted__() else None
        publish.save_classifier(
            self.meta_model, adapted, save_directory, include_support=include_support, embed=embed, repo_id=repo_id
        )
        if not push_to_hub:
            return None
        target = repo_id or Path(save_directory).name
        return self.push_to_hub(target, include_support=include_support, embed=embed, **options)

    def push_to_hub(self, repo_id: str, *, include_support: bool = False, embed: bool = False, **options: Any) -> str:
        """Publish in one commit, so that the repository is never half updated; returns the commit's address.

        Options: token, private, branch, commit_message. Raises HubError with the way out when the Hub refuses or cannot be
        reached.
        """
        adapted = self.adaptation_ if self.__sklearn_is_fitted__() else None
        return publish.push_classifier(
            self.meta_model, adapted, repo_id, include_support=include_support, embed=embed, **options
        )

    def fingerprint(self) -> str:
        """SHA-256 over labels and task: equal for the same classes learned in the same way."""
        return fingerprint(self._adapted().task, self.classes_.tolist())

    def export_onnx(self, target: str | Path, *, int8: bool = False) -> None:
        """Write embedding, encoder and head as one ONNX file (extra `[onnx]`): token ids in, probabilities out.

        Each of several encoders has inputs of its own; `docs/onnx.md` has a program that makes them from texts. A transformer
        reads one window there, so longer texts are cut at its max_tokens. int8: encoders in eight bits, a quarter of the size.
        Raises ExportError if an encoder has no ONNX form.
        """
        from meta_text.classify.onnx_export import export_classifier

        export_classifier(self._adapted(), Path(target), int8=int8)

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
        embedding: Any = None,
        label_names: Any = None,
    ) -> "FewShotClassifier":
        """A classifier from a folder, or from one snapshot of a Hub repository; fitted if it was saved fitted.

        embedding: an encoder that only its owner can make, for a classifier that was saved with it. cache_dir, token and
        local_files_only also apply to the embedding that the model needs. label_names=None keeps those it was fitted with.
        Raises ModelFileError for a broken or newer folder, HubError if the Hub refuses or is out of reach.
        """
        name = str(pretrained_model_name_or_path)
        folder = loading.find_folder(name, revision, cache_dir, token, local_files_only, force_download)
        loading.fetch_embedding(folder, cache_dir, token, local_files_only)
        model = "default" if name == "default" else str(folder)
        classifier = cls(model, embedding=embedding, label_names=label_names or False, device=device)
        adapted = load_adaptation(folder, classifier.meta_model)
        if adapted is not None:
            classifier._take(adapted)
            classifier.class_prior = prior_of(adapted)
            if adapted.names is not None and label_names is None:
                classifier.label_names = Classes.label_names_of(adapted)
        return classifier

    @property
    def meta_model(self) -> MetaModel:
        """The meta-trained model, loaded at first use and shared between clones."""
        if isinstance(self.model, MetaModel):
            if self.embedding is not None:
                raise ConfigError("model is a MetaModel, which has its encoders; leave embedding out")
            return self.model
        return loading.shared_model(str(self.model), self.device, self.embedding)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "adaptation_")

    def _start(
        self, classes: Classes, progress: Progress | None = None, old: Adaptation | None = None, effort: str = "normal"
    ) -> None:
        """Learn these classes; old: what they were before, whose model and moved encoder stay in use."""
        model = self.meta_model if old is None else old.resting.model
        classes.check(reads_vectors=model.reads_vectors)
        support, names = classes.in_order
        before = self.adaptation_ if self.__sklearn_is_fitted__() else None
        known, calibration = before and before.resting, model.calibration.of(names is not None)
        learned = Adaptation.learn(
            model, calibration, support, names, known, progress, classes.weights, classes.unlabeled
        )
        if old is not None:
            self.class_prior = after_edit(self.class_prior, old.support, learned.support)
        learned = learned.expecting(shares_of(self.class_prior, learned))
        if effort == "high":
            learned = moved(learned, progress)
        elif old is not None and old.move is not None:
            learned = follow(learned, old.move)
        self._take(learned)
        warn_of_labelled(learned, before)

    def _take(self, adapted: Adaptation) -> None:
        self.adaptation_ = adapted
        self.classes_ = label_array(list(adapted.support))
        self.support_ = {label: list(texts) for label, texts in adapted.support.items()}
        self.n_cut_ = adapted.n_cut

    def _adapted(self) -> Adaptation:
        check_is_fitted(
            self,
            msg="this %(name)s has learned no categories yet; call fit(texts, labels) first, "
            "or on the command line: meta-text fit default FILE --out FOLDER",
        )
        adapted: Adaptation = self.adaptation_
        return adapted

    def _as_texts(self, X: Any) -> Any:
        """X as it is; or, where it is an array of vectors, each row written as a text."""
        return row_texts(X) if self.meta_model.reads_vectors else X

    def _change(self, classes: Classes) -> list[ClassChange]:
        """Learn these classes; returns the effect on the classes that stay."""
        before = self._adapted()
        self._start(classes, old=before)
        return report(before, self._adapted())
