"""What counts as the same text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta_text.corpus.same_text import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my card?", "where IS my card?"),
        ("  two\tspaces \n here ", "two spaces here"),
        ("no\u00a0break", "no break"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("o\ufb03ce", "office"),
        ("STRASSE", "straße"),
        ("Acme™ № 5", "acmetm no 5"),
        ("\u00df\u030c", "s\u0161"),  # folding leaves a letter and an accent apart
        ("\u0130stanbul", "i\u0307stanbul"),
    ],
)
def test_copies_fold_to_one_text(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("card", "cards"), ("no, thanks", "no thanks"), ("resume", "résumé"), ("now here", "nowhere")]
)
def test_other_texts_stay_apart(one, other):
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_is_done_once_for_all(text):
    folded = fold(text)
    assert fold(folded) == folded
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == folded
    assert fold(f" {text}\n") == folded
