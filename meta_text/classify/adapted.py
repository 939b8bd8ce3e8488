"""What the parts of `FewShotClassifier`, each in a file of its own, ask of the whole."""

from abc import ABC, abstractmethod
from typing import Any

from meta_text.model.adaptation import Adaptation


class Adapted(ABC):
    """A classifier that has learned classes."""

    @abstractmethod
    def _adapted(self) -> Adaptation:
        """What was learned. Raises NotFittedError before `fit`."""

    @abstractmethod
    def _as_texts(self, X: Any) -> Any:
        """Texts, or ready vectors as texts of their own."""
