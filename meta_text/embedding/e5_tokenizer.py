"""The tokenizer of multilingual-e5, which is XLM-RoBERTa's: what `tokenizers` makes of its tokenizer.json, in less memory."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from tokenizers import AddedToken, normalizers

from meta_text.embedding.e5_tokenizer_json import tokenizer_json
from meta_text.embedding.piece_model import PieceModel
from meta_text.embedding.piece_proto import model_proto
from meta_text.errors import ModelFileError

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # the first pieces, in this order
START, _, END, UNKNOWN = range(len(SPECIALS))
QUERY = ("▁que", "ry", ":")  # the pieces of "query: ", which the model was trained to read before every text
WIDE, ASIDE = "\uff5e", "\ue000"
_special = re.compile(f"({'|'.join(SPECIALS)})")


class Encoding(NamedTuple):
    """The ids of a text's first window; those of the others are in `overflowing`. tokens: from `encode` alone."""

    ids: list[int]
    overflowing: list["Encoding"]
    tokens: list[str]


class E5Tokenizer:
    """Texts to ids; the template puts "query: " before every text, and before every window of a long one.

    Its methods are those of `tokenizers.Tokenizer` that an embedding needs. Threads may share it, and copies share
    the pieces. Raises ModelFileError where the pieces are not XLM-RoBERTa's.
    """

    def __init__(self, model: PieceModel) -> None:
        self._model = model
        first, query = model.names(range(min(len(SPECIALS), model.size))), [model.find(piece) for piece in QUERY]
        if tuple(first) != SPECIALS or model.unknown != UNKNOWN or None in query:
            raise _others(first)
        self._query = [i for i in query if i is not None]
        # XLM-RoBERTa's own table is NFKC, but leaves the wide tilde of Chinese and Japanese texts as it is
        apart, back = normalizers.Replace(WIDE, ASIDE), normalizers.Replace(ASIDE, WIDE)
        self._own = normalizers.Sequence([normalizers.Nmt(), apart, normalizers.NFKC(), back])
        self.normalizer: Any = self._own
        self._truncation: dict[str, Any] | None = None

    @classmethod
    def from_pieces(cls, pieces: Sequence[tuple[str, float]]) -> "E5Tokenizer":
        first = [piece for piece, _ in pieces[: len(SPECIALS)]]
        if tuple(first) != SPECIALS:
            raise _others(first)
        return cls(PieceModel(model_proto(pieces, UNKNOWN)))

    @classmethod
    def from_str(cls, text: str) -> "E5Tokenizer | None":
        """From what `to_str` gave; None for another tokenizer.json."""
        said = json.loads(text)
        try:
            pieces = [(str(piece), float(score)) for piece, score in said["model"]["vocab"]]
            said["model"]["vocab"] = []
            found = cls.from_pieces(pieces)
            is_single = found._model.scores() == [score for _, score in pieces]
        except (KeyError, TypeError, ValueError, AttributeError, ModelFileError):
            return None
        return found if is_single and {**said, "truncation": None, "padding": None} == found._said([]) else None

    @classmethod
    def from_proto(cls, proto: bytes) -> "E5Tokenizer":
        """From what `to_proto` gave, the fastest."""
        return cls(PieceModel(proto))

    @property
    def is_plain(self) -> bool:
        """Whether texts are normalized as XLM-RoBERTa does it, and no further."""
        return self.normalizer is self._own

    def to_proto(self) -> bytes:
        return self._model.proto()

    def to_str(self) -> str:
        """The text of tokenizer.json, to the byte what `tokenizers` writes for these pieces."""
        vocabulary = list(zip(self._model.pieces(), self._model.scores(), strict=True))
        return json.dumps(self._said(vocabulary), ensure_ascii=False, separators=(",", ":"))

    def _said(self, vocabulary: list[tuple[str, float]]) -> dict[str, Any]:
        normalizer = json.loads(self.normalizer.__getstate__())
        return tokenizer_json(vocabulary, SPECIALS, QUERY, self._query, normalizer, self._truncation)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": self.to_proto()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _model=PieceModel(state["_model"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> "E5Tokenizer":
        twin = object.__new__(E5Tokenizer)
        twin.__dict__.update(self.__dict__)  # nothing in it is changed, only replaced
        return twin

    def no_padding(self) -> None:
        """It never pads."""

    def enable_truncation(self, max_length: int, stride: int = 0) -> None:
        """From now on texts are read in windows of at most `max_length` ids, which share `stride` of them."""
        room = max_length - self.num_special_tokens_to_add(False)
        if stride >= room:
            raise ValueError(
                f"windows of {max_length} tokens have room for {max(room, 0)} of a text, and {stride} would be shared; "
                "allow more tokens"
            )
        self._truncation = {"direction": "Right", "max_length": max_length, "strategy": "LongestFirst"}
        self._truncation["stride"] = stride

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        return 2 + len(self._query)

    def encode(self, text: str) -> Encoding:
        (found,) = self.encode_batch_fast([text])
        return found._replace(tokens=self._model.names(found.ids))

    def encode_batch_fast(self, texts: Sequence[str]) -> list[Encoding]:
        # each word once; no normalizer looks beyond a space
        split = [text.split(" ") for text in texts]
        ids = self._ids(dict.fromkeys(chain.from_iterable(split)))
        return [self._windows([i for word in words for i in ids[word]]) for words in split]

    def _ids(self, written: Iterable[str]) -> dict[str, list[int]]:
        """The ids of every word as it is written: none, or those of several words, where there are odd characters."""
        parts = {word: self._normalized(word) for word in written}
        ids = self._model.read(list(dict.fromkeys(chain.from_iterable(parts.values()))))
        ids.update({f" {special}": [i] for i, special in enumerate(SPECIALS)})
        return {word: [i for part in found for i in ids[part]] for word, found in parts.items()}

    def _normalized(self, written: str) -> list[str]:
        """The words of what stood between two spaces; special pieces have a space before them, as no word has."""
        is_plain = written.isascii() and written.isprintable() and "<" not in written
        if written and is_plain and self.is_plain:
            return [written]  # as the normalizer leaves it
        parts: list[str] = []
        for i, part in enumerate(_special.split(written)):
            parts += [f" {part}"] if i % 2 else self.normalizer.normalize_str(part).split()
        return parts

    def _windows(self, ids: list[int]) -> Encoding:
        stride, room = 0, max(len(ids), 1)
        if self._truncation is not None:
            stride = self._truncation["stride"]
            room = self._truncation["max_length"] - self.num_special_tokens_to_add(False)
        starts = range(0, max(len(ids) - stride, 1), room - stride)
        windows = [Encoding([START, *self._query, *ids[s : s + room], END], [], []) for s in starts]
        return windows[0]._replace(overflowing=windows[1:])

    def get_vocab_size(self) -> int:
        return self._model.size

    def vocabulary(self) -> Iterator[tuple[str, int]]:
        """What `get_vocab(with_added_tokens=False).items()` is in `tokenizers`, piece by piece."""
        return ((piece, i) for i, piece in enumerate(self._model.pieces()))

    def token_to_id(self, piece: str) -> int | None:
        return self._model.find(piece)

    def id_to_token(self, index: int) -> str | None:
        return self._model.names([index])[0] if 0 <= index < self._model.size else None

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return {i: AddedToken(piece, normalized=False, special=True) for i, piece in enumerate(SPECIALS)}


def _others(first: list[str]) -> ModelFileError:
    return ModelFileError(
        f"the tokenizer begins with {first}, or lacks a piece of 'query: '; "
        f"{list(SPECIALS)} and {list(QUERY)} are needed, as in intfloat/multilingual-e5-small"
    )
