"""Writes the folder that a format version keeps for ever; run once a version, never over an old one.

python tests/make_golden.py
"""

import json
from pathlib import Path

from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classify.classifier import FewShotClassifier
from meta_text.saving.model_folder import FORMAT_VERSION

ASKED = ["a red wine", "tyre pressure", "unheard of"]

if __name__ == "__main__":
    folder = Path(__file__).parent / f"golden_v{FORMAT_VERSION}"
    if folder.exists():
        raise SystemExit(f"{folder} exists and must go on loading as it is")
    classifier = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    classifier.save_pretrained(folder, include_support=True)
    expected = {"texts": ASKED, "probabilities": classifier.predict_proba(ASKED).tolist()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
