"""Whatever a user names or brings as a sentence encoder: a name, a folder, a function, or ready vectors."""

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from meta_text.embedding.encoder_folder import open_folder
from meta_text.embedding.given_vectors import CallableEncoder, VectorEncoder
from meta_text.embedding.lexical_encoder import LexicalEncoder
from meta_text.embedding.pretrained import find_model, local_folder
from meta_text.embedding.process import own_settings
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import HubError, InputError

MIXTURES = {"auto": ("minilm", "e5", "lexical"), "fast": ("minilm",)}
SHIPPED = ("minilm", "e5", "lexical")
NAMES = (*MIXTURES, *SHIPPED, "vectors")
NEEDED = (
    "'auto', 'fast', 'minilm', 'e5', 'lexical', 'vectors', a folder, a Hub name such as 'BAAI/bge-small-en-v1.5', "
    "or a function from a list of texts to an array [n, width] is needed"
)


def open_encoders(spec: Any) -> tuple[SentenceEncoder, ...]:
    """The encoders that `spec` stands for: "auto" for MiniLM, E5 and the lexical one, "fast" for MiniLM, a list of encoders, or one.

    What one may be is in `open_encoder`. Raises InputError for an empty or nested list, and for an encoder that stands
    in it twice.
    """
    if isinstance(spec, str) and spec in MIXTURES:
        spec = MIXTURES[spec]
    if not isinstance(spec, list | tuple):
        return (open_encoder(spec),)
    if not spec:
        raise InputError(f"embedding is an empty list; {NEEDED}, or a list of these")
    for one in spec:
        _check_part(one)
    if len(spec) > 1 and "vectors" in [one for one in spec if isinstance(one, str)]:
        raise InputError("embedding has 'vectors' beside others, which read texts; pass embedding='vectors' alone")
    encoders = tuple(open_encoder(one) for one in spec)
    for first, second in combinations(encoders, 2):
        if _are_same(first, second):
            raise InputError(f"embedding names '{first.name}' twice (as '{second.name}'); leave one out")
    return encoders


def open_encoder(
    spec: Any,
    *,
    name: str | None = None,
    prompt: str | None = None,
    truncate_dim: int | None = None,
    max_tokens: int | None = None,
    revision: str | None = None,
) -> SentenceEncoder:
    """One encoder of "minilm", "e5", "lexical", a Hub name, a folder, a function, "vectors", or an encoder as it is.

    A folder is in the layout of transformers, sentence-transformers or model2vec, and what it says is respected. The
    E5 models of intfloat get "query: " before every text where their files give no prompt.

    prompt: before every text, in place of the folder's. truncate_dim: the first numbers of a vector that are kept.
    max_tokens: longer texts are read in windows. revision: of the Hub's repository. name: in cards and messages.

    Raises InputError for anything else, HubError for a name that the Hub does not give, ModelFileError for a folder
    that cannot be read.
    """
    options = {"prompt": prompt, "truncate_dim": truncate_dim, "max_tokens": max_tokens, "revision": revision}
    given = [key for key, value in options.items() if value is not None]
    if isinstance(spec, str | PathLike) and spec not in NAMES:
        _check_name(spec)
        encoder = _pretrained(str(spec), prompt, truncate_dim, max_tokens, revision)
        folder = local_folder(str(spec))
        encoder.name, encoder.source = name or encoder.name, "" if given else str(folder or spec)
        return encoder
    if name is not None and isinstance(spec, str | SentenceEncoder):
        given.append("name")
    if given:
        raise InputError(f"{', '.join(given)} can be passed for a folder or a Hub name, not for {_shown(spec)}")
    if isinstance(spec, str):
        return _named(spec)
    if isinstance(spec, SentenceEncoder):
        return spec
    if isinstance(spec, nn.Module) or hasattr(spec, "encode"):
        raise InputError(f"embedding is {_shown(spec)}; pass its folder or Hub name, or its function: model.encode")
    if callable(spec) and not inspect.isclass(spec):
        return CallableEncoder(spec, name)
    raise InputError(f"embedding is {_shown(spec)}; {NEEDED}")


def _named(spec: str) -> SentenceEncoder:
    if spec == "vectors":
        return VectorEncoder()
    if len(MIXTURES.get(spec, ("one",))) > 1:
        raise InputError(
            f"'{spec}' stands for several encoders; use open_encoders, or one of {', '.join(MIXTURES[spec])}"
        )
    if spec == "lexical":
        return LexicalEncoder()
    from meta_text.embedding.shipped_encoders import e5, minilm

    made: SentenceEncoder = e5() if spec == "e5" else minilm()
    return made


def _check_name(spec: str | PathLike[str]) -> None:
    """Raises InputError for what the Hub need not be asked about: a misspelt name, and a folder that does not exist."""
    written = str(spec)
    if local_folder(written) is not None or Path(written).expanduser().exists():
        return
    near = get_close_matches(written.lower(), NAMES, n=1, cutoff=0.7)
    if near and isinstance(spec, str):
        raise InputError(f"embedding '{written}' is unknown; did you mean '{near[0]}'? Otherwise {NEEDED}")
    if not isinstance(spec, str) or written.startswith(("/", ".", "~", "\\")) or written.count("/") > 1:
        raise InputError(f"embedding '{written}' is a folder that does not exist; {NEEDED}")


def _pretrained(
    spec: str, prompt: str | None, truncate_dim: int | None, max_tokens: int | None, revision: str | None
) -> SentenceEncoder:
    if not spec.strip():
        raise InputError(f"embedding is an empty name; {NEEDED}")
    if Path(spec).expanduser().is_file():
        raise InputError(f"embedding '{spec}' is a file; name the folder that it is in")
    for key, value in (("truncate_dim", truncate_dim), ("max_tokens", max_tokens)):
        if value is not None and value < 1:
            raise InputError(f"{key}={value}; a whole number from 1 on is needed, or leave it out")
    try:
        with own_settings():
            folder = find_model(spec, revision, for_sentences=True)
    except HubError as error:
        raise HubError(f"{error}. If it is no Hub name: {NEEDED}") from error
    is_local = local_folder(spec) is not None
    return open_folder(
        folder, str(folder) if is_local else spec, prompt=prompt, truncate_dim=truncate_dim, max_tokens=max_tokens
    )


def _check_part(spec: Any) -> None:
    if isinstance(spec, list | tuple):
        raise InputError("embedding is a list within a list; write all encoders into one list")
    if isinstance(spec, str) and len(MIXTURES.get(spec, ("one",))) > 1:
        parts = ", ".join(map(repr, MIXTURES[spec]))
        raise InputError(f"embedding has '{spec}' in a list, which stands for several; write {parts} instead")


def _are_same(first: SentenceEncoder, second: SentenceEncoder) -> bool:
    if first is second:
        return True
    if isinstance(first, CallableEncoder) and isinstance(second, CallableEncoder):
        return bool(first.function == second.function)  # two methods of one name may belong to two models
    return type(first) is type(second) and first.width == second.width and first.digest() == second.digest()


def _shown(spec: Any) -> str:
    """A value in a message: short ones as they are written, others by their type."""
    if isinstance(spec, str | int | float | None) or (isinstance(spec, Sequence) and not spec):
        return repr(spec)
    return f"the class {spec.__name__}" if inspect.isclass(spec) else f"a {type(spec).__name__}"
