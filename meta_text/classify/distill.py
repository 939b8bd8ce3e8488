"""From a fitted classifier to a student on its cheapest encoder."""

from typing import Any

from meta_text.classify.class_edits import Classes
from meta_text.corpus.labels import texts_or_none
from meta_text.embedding.reading import Progress
from meta_text.model.adaptation import Adaptation
from meta_text.model.student import taught


def distilled(teacher: Adaptation, X: Any, progress: Progress | None = None) -> Adaptation:
    """The student of a classifier (`model.student`); blank or missing texts are left out.

    Raises InputError for a teacher that was saved without its labelled texts, and as `taught` does.
    """
    Classes.of(teacher, "it can answer but not teach")
    student = taught(teacher, [text for text in texts_or_none(X, "texts") if text is not None], progress)
    return student.divided(teacher.groups)  # which answers as its teacher does, and so is as sure
