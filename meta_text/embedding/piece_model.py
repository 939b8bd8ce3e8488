"""A unigram model of pieces in little memory: words to ids, as `tokenizers` gives them.

`sentencepiece` keeps the pieces in a double array trie: 45 MB for 250,000, where the hash maps of `tokenizers` take
280 MB and three times as long to load. It adds scores in single precision, `tokenizers` in double precision. So words
are read one by one, where sums are short, and again in double precision where a tie is to be expected. Other ties are
rare: in a corpus of 185,000 texts two had other ids, both with "excessive" inside a longer word.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sentencepiece import SentencePieceProcessor

from meta_text.errors import ModelFileError

SPACE = "▁"  # stands before every word
UNKNOWN_COSTS = 10.0  # more than the rarest piece
CHUNK = 8192  # pieces that are strings at a time
# Where pieces of one repeated part stand side by side, as in "....", their order makes a tie that rounding decides;
# half of the longest piece is the longest such part. A written "<unk>" is a piece too, but sentencepiece spells it.
_repeats = re.compile(r"(.{1,8}?)\1\1|<unk>")


class PieceModel:
    """Raises ModelFileError for a `proto` that is no model; it comes from `model_proto`."""

    def __init__(self, proto: bytes) -> None:
        try:
            self._model = SentencePieceProcessor(model_proto=proto)
            self.size = int(self._model.get_piece_size())
            self.unknown = int(self._model.unk_id())
            self._longest = max(map(len, self.pieces()))
            self._unknown_score = min(self.scores()) - UNKNOWN_COSTS
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"the pieces are no unigram model ({error}); download the encoder, or copy its folder, again"
            ) from None

    def proto(self) -> bytes:
        return bytes(self._model.serialized_model_proto())

    def pieces(self) -> Iterator[str]:
        """All pieces in order, of which few are strings at the same time."""
        for start in range(0, self.size, CHUNK):
            yield from self._model.id_to_piece(list(range(start, min(start + CHUNK, self.size))))

    def scores(self) -> list[float]:
        return [exact(score) for score in self._model.get_score(list(range(self.size)))]

    def names(self, ids: Sequence[int]) -> list[str]:
        return list(self._model.id_to_piece(list(ids)))

    def find(self, piece: str) -> int | None:
        found = int(self._model.piece_to_id(piece))
        return found if found != self.unknown or piece == self.names([found])[0] else None

    def read(self, words: list[str]) -> dict[str, list[int]]:
        """The ids of each word, which is normalized and has no space in it."""
        # one thread: it takes a fraction of what the encoder takes, and leaves the processor to that
        ids = dict(zip(words, self._model.encode(words, num_threads=1), strict=True))
        for word in filter(_repeats.search, words):
            pieces = self.names(ids[word])
            if "<unk>" in "".join(pieces) or any(a != b and a + b == b + a for a, b in pairwise(pieces)):
                ids[word] = self._in_double_precision(SPACE + word)
        return ids

    def _in_double_precision(self, word: str) -> list[int]:
        """The likeliest pieces by the very sums that `tokenizers` computes (Viterbi's algorithm)."""
        best: list[tuple[float, int, int]] = [(0.0, 0, self.unknown), *[(-math.inf, 0, self.unknown)] * len(word)]
        for start in range(len(word)):
            parts = [word[start:end] for end in range(start + 1, min(start + self._longest, len(word)) + 1)]
            for end, (part, i) in enumerate(zip(parts, self._model.piece_to_id(parts), strict=True), start + 1):
                is_unknown = i == self.unknown and part != "<unk>"
                if is_unknown and end > start + 1:
                    continue
                score = best[start][0] + (self._unknown_score if is_unknown else exact(self._model.get_score(i)))
                if score > best[end][0]:
                    best[end] = (score, start, i)
        ids: list[int] = []
        end = len(word)
        while end:
            _, start, i = best[end]
            if i != self.unknown or ids[-1:] != [i]:  # unknown characters side by side are one piece
                ids.append(i)
            end = start
        return ids[::-1]


def exact(score: float) -> float:
    """What nine digits say of a score in single precision: all of it, and what every reader of JSON reads alike."""
    return float(f"{score:.9g}")
