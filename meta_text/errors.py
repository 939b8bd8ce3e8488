"""The errors that a user's own input can cause: each message says what was found, what is needed, and the way out."""


class MetaTextError(ValueError):
    """Base class of every error that this package raises for what it was given."""


class ConfigError(MetaTextError):
    """A recipe that cannot be run: the key, and what it may be."""


class CorpusError(MetaTextError):
    """Labelled texts that cannot be read or are too few: the file and row, and what is needed."""


class InputError(MetaTextError):
    """Texts, labels or options that a call cannot take."""


class OutputError(MetaTextError):
    """A file that cannot be written where it was asked for."""


class ModelFileError(MetaTextError):
    """A saved model that is incomplete or changed, or a folder that may not be replaced."""


class HubError(MetaTextError):
    """What the Hugging Face Hub refused."""


class ExportError(MetaTextError):
    """A model that has no form in another format."""


class ExtraError(MetaTextError):
    """A package that an optional part needs and that is not installed: names the extra which brings it."""
