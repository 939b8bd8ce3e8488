"""What a service takes: how much in one request, how much in one classifier, how much at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meta_text.service.problems import RefusedError
from meta_text.wording import counted


@dataclass(frozen=True)
class Limits:
    """Each is met by a refusal that names it: 413 for the body, 422 for its content, 429 and 503 for too much at once.

    seconds: how long a request may take to arrive, to wait for its turn, and to be read by its client; what has begun is
    finished. waiting: requests that may wait for their turn; changes: how many of these may create or change classifiers.
    """

    body_bytes: int = 1 << 20
    texts: int = 1_000  # in one request
    characters: int = 10_000  # of one text
    classes: int = 500  # of one classifier
    labelled: int = 10_000  # texts of one classifier
    classifiers: int = 1_000
    waiting: int = 64
    changes: int = 4
    connections: int = 256  # requests that are being received or answered
    seconds: float = 30.0

    def check_texts(self, texts: Sequence[str], where: str) -> None:
        """Refuses too many texts, blank ones and long ones."""
        if len(texts) > self.texts:
            raise RefusedError(
                422, f"{where}: {counted(len(texts), 'text')}; one request may hold {self.texts}, so send several"
            )
        for place, text in enumerate(texts):
            self.check_text(text, f"{where}.{place}")

    def check_text(self, text: str, where: str) -> None:
        if not text.strip():
            raise RefusedError(422, f"{where} is blank; write a text in its place, or leave it out")
        if len(text) > self.characters:
            raise RefusedError(422, f"{where} has {len(text)} characters; a text may have {self.characters}, so cut it")

    def check_classes(self, labels: Iterable[object]) -> None:
        count = len(set(labels))
        if count > self.classes:
            raise RefusedError(422, f"{counted(count, 'class', 'classes')}; a classifier may have {self.classes}")

    def check_labelled(self, count: int) -> None:
        if count > self.labelled:
            raise RefusedError(422, f"{counted(count, 'labelled text')}; a classifier may have {self.labelled}")
