"""Writes the golden folders, which every later version must load; run once each, never over an old one.

golden_vN is a small classifier in format version N; golden_default is the default model as it is shipped now.
Each holds expected.json: texts, and the probabilities that they got.

    META_TEXT_ENGINE=training python tests/make_golden.py
"""

import json
import shutil
from pathlib import Path

from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classify.classifier import FewShotClassifier
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import FORMAT_VERSION

ASKED = ["a red wine", "tyre pressure", "unheard of"]
SUPPORT = {
    "delivery": ["where is my parcel", "it should have been here on Monday", "the courier left it with a neighbour"],
    "refund": ["I want my money back", "please refund the last order", "you charged me twice"],
    "account": ["I cannot log in", "change my e-mail address", "how do I delete my profile"],
}
QUESTIONS = ["has my package been sent", "give me my money", "I forgot my password", "what is the capital of Peru"]


def write_expected(folder: Path, expected: dict[str, object]) -> None:
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def write_golden_version(folder: Path) -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    classifier.save_pretrained(folder, include_support=True)
    write_expected(folder, {"texts": ASKED, "probabilities": classifier.predict_proba(ASKED).tolist()})


def write_golden_default(folder: Path) -> None:
    shutil.copytree(DEFAULT, folder)
    expected = {"support": SUPPORT, "texts": QUESTIONS}
    texts = [text for examples in SUPPORT.values() for text in examples]
    labels = [label for label, examples in SUPPORT.items() for _ in examples]
    for key, label_names in (("probabilities", False), ("probabilities_with_label_names", True)):
        classifier = FewShotClassifier("default", label_names=label_names, device="cpu").fit(texts, labels)
        expected[key] = [
            dict(zip(classifier.classes_, row, strict=True)) for row in classifier.predict_proba(QUESTIONS)
        ]
    write_expected(folder, expected)


if __name__ == "__main__":
    here = Path(__file__).parent
    for folder, write in (
        (here / f"golden_v{FORMAT_VERSION}", write_golden_version),
        (here / "golden_default", write_golden_default),
    ):
        if folder.exists():
            print(f"{folder} exists and stays as it is")  # noqa: T201  # a script for people
        else:
            write(folder)
