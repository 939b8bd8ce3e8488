"""Pieces and their scores as a model of `sentencepiece`: its protocol buffer, written without the package `protobuf`.

sentencepiece_model.proto in Google's repository names the fields; here stand their numbers.
"""

import struct
from collections.abc import Sequence

UNIGRAM = 1
IS_UNKNOWN = b"\x18\x02"  # field 3 of a piece: its type


def model_proto(pieces: Sequence[tuple[str, float]], unknown: int) -> bytes:
    """A unigram model that takes texts as they are, and puts "▁" before the first word and in place of spaces."""
    parts = []
    for i, (piece, score) in enumerate(pieces):
        kind = IS_UNKNOWN if i == unknown else b""
        parts.append(_field(1, _field(1, piece.encode()) + struct.pack("<Bf", 2 << 3 | 5, score) + kind))
    none = (1 << 64) - 1  # -1: no piece has a part in a sentence's beginning and end, or in padding
    trainer = _number(3, UNIGRAM) + _number(40, unknown) + b"".join(_number(field, none) for field in (41, 42, 43))
    normalizer = _field(1, b"identity") + b"".join(_number(field, 1) for field in (3, 4, 5))
    return b"".join((*parts, _field(2, trainer), _field(3, normalizer)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have the eighth bit set."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes((*found, number))
