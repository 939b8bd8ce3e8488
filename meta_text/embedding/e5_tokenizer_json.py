"""What tokenizer.json says of multilingual-e5, as `tokenizers` and `transformers` read it."""

from collections.abc import Mapping, Sequence
from typing import Any


def tokenizer_json(
    vocabulary: Sequence[tuple[str, float]],
    specials: Sequence[str],
    query: Sequence[str],
    query_ids: Sequence[int],
    normalizer: Mapping[str, Any],
    truncation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """In the order in which `tokenizers` writes it. specials: the first pieces, of which the fourth is the unknown one."""
    start, _, end, unknown = specials
    around = {start: [start], "<query>": list(query), end: [end]}
    ids = {start: [0], "<query>": list(query_ids), end: [2]}
    single: list[dict[str, Any]] = [{"SpecialToken": {"id": name, "type_id": 0}} for name in around]
    texts = [{"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB")]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": truncation,
        "padding": None,
        "added_tokens": [{"id": i, "content": piece, **flags} for i, piece in enumerate(specials)],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*single[:2], texts[0], single[2]],
            "pair": texts,
            "special_tokens": {name: {"id": name, "ids": ids[name], "tokens": around[name]} for name in sorted(around)},
        },
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": specials.index(unknown), "vocab": vocabulary, "byte_fallback": False},
    }
