"""Errors caused by user input: each message says what was found, what is needed, and the way out."""


class MetaTextError(ValueError):
    """Base class of every error that this package raises for invalid input."""


class ConfigError(MetaTextError):
    """A recipe that cannot be run: names the key and what it may be."""


class CorpusError(MetaTextError):
    """Labelled texts that cannot be read or are too few: names the file and row, and what is needed."""


class InputError(MetaTextError):
    """Texts, labels or options that a call cannot take."""


class OutputError(MetaTextError):
    """A file that cannot be written to the given path."""


class ModelFileError(MetaTextError):
    """A saved model that is incomplete or changed, or a folder that may not be replaced."""


class HubError(MetaTextError):
    """A request that the Hugging Face Hub refused, or that did not reach it."""


class ExportError(MetaTextError):
    """A model that cannot be exported to another format."""


class ExtraError(MetaTextError):
    """A package that an optional part needs is not installed: names the extra that installs it."""
