"""The summary of `predict`: what answers were beside those at fit, and whether to label again."""

from pathlib import Path
from typing import TYPE_CHECKING

from meta_text.cli.console import out_console, tell, working, write_json

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.classify.tally import Tally


def summarize(
    classifier: "FewShotClassifier", tally: "Tally", rate: float, file: Path, *, beside_answers: bool
) -> None:
    """Write it to a JSON file and print it; as a note where answers are on standard output."""
    from meta_text.classify.drift import drift

    with working("comparing with the texts at fit"):
        found = drift(classifier.adaptation_, tally, rate)
    write_json(file, found.as_dict())
    (tell if beside_answers else out_console.print)(str(found))
