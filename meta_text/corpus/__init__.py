"""Labelled texts: read, checked, divided into classes that train and classes that test, drawn as episodes."""

from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler

__all__ = ["ClassSplit", "Corpus", "Episode", "EpisodeSampler"]
