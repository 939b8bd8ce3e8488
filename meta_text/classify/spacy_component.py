"""A classifier as a component of a spaCy pipeline (extra `[spacy]`): `nlp.add_pipe("meta_text", config={"path": FOLDER})`.

spaCy finds it through the entry point in pyproject.toml.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import no_type_check

from meta_text.classify.answers import answer
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.fitted import fitted_on_texts
from meta_text.extras import needs
from meta_text.model.calibration import check_rate

with needs("spacy", "a component of spaCy"):
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.util import minibatch


class ClassifierComponent:
    """Sets `doc.cats` to calibrated probabilities, and `doc._.category` to the label, None for a text that fits no class.

    path: the classifier's folder, or its name on the Hub; read at the first text, because a pipeline that spaCy loads has its
    own copy. reject: the share of texts of its classes that may be answered None; None: no text is.
    """

    def __init__(self, path: str, reject: float | None = 0.05, device: str | None = None) -> None:
        if reject is not None:
            check_rate(reject)
        self.path, self.reject, self.device = path, reject, device
        if not Doc.has_extension("category"):
            Doc.set_extension("category", default=None)

    @cached_property
    def classifier(self) -> FewShotClassifier:
        """Raises InputError for a classifier that is not fitted or reads vectors; ModelFileError and HubError for no classifier."""
        return fitted_on_texts(self.path, self.device)

    def __call__(self, doc: Doc) -> Doc:
        self._classify([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Classify documents, batch_size of them together."""
        for docs in minibatch(stream, batch_size):
            self._classify(docs)
            yield from docs

    def _classify(self, docs: list[Doc]) -> None:
        found = answer(self.classifier.adaptation_, [doc.text for doc in docs], self.reject)
        classes = self.classifier.classes_.tolist()
        for doc, (label, _), row in zip(docs, found.given, found.probabilities.tolist(), strict=True):
            doc.cats.update(zip(map(str, classes), row, strict=True))
            doc._.category = label

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the classifier's folder, as `save_pretrained` does without labelled texts. exclude: spaCy's, of which it has none."""
        self.classifier.save_pretrained(path)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "ClassifierComponent":
        """Read the classifier from there, in place of the one in `path`."""
        self.classifier = fitted_on_texts(path, self.device)
        return self


@no_type_check  # spaCy reads the names of these arguments, which the wrapper of a type checker hides
def make_component(
    nlp: Language, name: str, path: str, reject: float | None, device: str | None
) -> ClassifierComponent:
    """What spaCy calls with a component's settings."""
    return ClassifierComponent(path, reject, device)


Language.factory(
    "meta_text",
    default_config={"reject": 0.05, "device": None},
    assigns=["doc.cats", "doc._.category"],
    func=make_component,
)
