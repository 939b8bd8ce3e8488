"""A classifier as a component of spaCy: through its entry point, in batches, written and read with the pipeline."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_classifier import LABELS, MODEL, TEXTS
from test_packaging import wheel  # noqa: F401  # a fixture

from meta_text import FewShotClassifier
from meta_text.errors import InputError, ModelFileError
from meta_text.extras import missing_packages

if missing_packages("spacy"):
    pytest.skip("not installed: spacy; the extra [spacy] brings it", allow_module_level=True)

import spacy

from meta_text.classify.spacy_component import ClassifierComponent

ASKED = ["a red wine", "tyre", "a glass, please", "zzz qqq"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("mine") / "mine"
    FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS).save_pretrained(path, include_support=True)
    return str(path)


def english(folder: str, **config: Any) -> spacy.language.Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("meta_text", config={"path": folder, "device": "cpu", **config})
    return nlp


def test_categories_and_the_category(folder: str) -> None:
    classifier = FewShotClassifier.from_pretrained(folder, device="cpu")
    expected = classifier.predict(ASKED, reject=0.05).tolist()
    assert expected == ["wine", "car", None, None]
    nlp = english(folder)
    for docs in (list(nlp.pipe(ASKED)), list(nlp.pipe(ASKED, batch_size=3)), [nlp(text) for text in ASKED]):
        assert [doc.text for doc in docs] == ASKED and [doc._.category for doc in docs] == expected
        assert all(list(doc.cats) == ["car", "wine"] for doc in docs)
        found = [list(doc.cats.values()) for doc in docs]
        np.testing.assert_allclose(found, classifier.predict_proba(ASKED), atol=1e-6)
    assert None not in [doc._.category for doc in english(folder, reject=None).pipe(ASKED)]


def test_batches_are_read_together_and_only_as_they_are_asked_for(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    component, sizes = ClassifierComponent(folder, device="cpu"), []
    classify = ClassifierComponent._classify
    monkeypatch.setattr(
        ClassifierComponent, "_classify", lambda self, docs: (sizes.append(len(docs)), classify(self, docs))
    )
    docs = component.pipe(map(spacy.blank("en").make_doc, ASKED), batch_size=3)
    next(docs)
    assert sizes == [3]
    list(docs)
    assert sizes == [3, 1]


def test_other_categories_of_a_document_stay(folder: str) -> None:
    doc = spacy.blank("en").make_doc("tyre")
    doc.cats["urgent"] = 0.25
    assert english(folder)(doc).cats.keys() == {"urgent", "car", "wine"} and doc.cats["urgent"] == 0.25


def test_numbers_are_written_out_in_cats_and_stay_numbers_elsewhere(tmp_path: Path) -> None:
    FewShotClassifier(MODEL, device="cpu").fit(TEXTS, [7, 7, 7, -1, -1, -1]).save_pretrained(tmp_path / "mine")
    doc = english(str(tmp_path / "mine"))("flat tyre")
    assert doc.cats.keys() == {"7", "-1"} and doc._.category == -1


def test_a_pipeline_carries_its_classifier(folder: str, tmp_path: Path) -> None:
    """Written and read where the first folder is no more, without the labelled texts."""
    gone = tmp_path / "gone"
    FewShotClassifier.from_pretrained(folder, device="cpu").save_pretrained(gone, include_support=True)
    nlp = english(str(gone), reject=0.1)
    before = nlp(ASKED[0])
    nlp.to_disk(tmp_path / "pipeline")
    for file in sorted(gone.iterdir()):
        file.unlink()
    again = spacy.load(tmp_path / "pipeline")
    assert again(ASKED[0]).cats == before.cats and again(ASKED[0])._.category == before._.category == "wine"
    assert again.get_pipe("meta_text").reject == 0.1
    assert all(
        text not in file.read_text("latin-1")
        for file in (tmp_path / "pipeline" / "meta_text").iterdir()
        for text in TEXTS
    )


def test_a_blank_document_is_in_no_category(folder: str) -> None:
    with pytest.warns(UserWarning, match="1 of 1 text is blank or missing"):
        doc = english(folder)(" ")
    assert doc._.category is None and doc.cats == {"car": 0.5, "wine": 0.5}


def test_what_cannot_be_is_said(folder: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reject=0\.5; a false-reject rate from 0.01 to 0.2 is needed"):
        english(folder, reject=0.5)
    with pytest.raises(ModelFileError, match=r"no model at .*nowhere"):
        english(str(tmp_path / "nowhere"))("a text")
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "empty")
    with pytest.raises(InputError, match="empty is a model to fit from: it has learned no categories yet"):
        english(str(tmp_path / "empty"))("a text")


FROM_THE_WHEEL = """
import sys
sys.path.insert(0, {site!r})
import spacy
nlp = spacy.blank("de")
nlp.add_pipe("meta_text", name="mine", config={{"path": {folder!r}, "device": "cpu"}})
print(nlp("flat tyre")._.category, nlp.analyze_pipes()["summary"]["mine"]["assigns"])
"""


@pytest.mark.long
def test_spacy_finds_it_where_the_package_is_installed(wheel: Path, folder: str, tmp_path: Path) -> None:  # noqa: F811
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = FROM_THE_WHEEL.format(site=str(tmp_path / "site"), folder=folder)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "car ['doc.cats', 'doc._.category']\n", done.stderr


@pytest.mark.long
def test_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, names = Path(__file__).parents[1] / "docs" / "other_doors.md", {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(code, page.name, "exec"), names)
    assert names["doc"]._.category == "refund" and names["rows"]["answer"][:] == ["delivery", "refund"]
