"""An ONNX graph that reads texts itself: tokenizers as nodes of onnxruntime-extensions in front of the encoders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.errors import ExportError

TEXTS = "texts"  # the graph's input, string [texts]
CONTRIB, OWN = "ai.onnx.contrib", "meta_text"  # domains: of the extension's nodes, of the function below
NO_LIMIT = 2**31
CAN = "the tokenizers of BERT (WordPiece, as of MiniLM) and multilingual-e5 can be; export without tokenizer=True"


@dataclass(frozen=True)
class TextReader:
    """What makes the token ids of one encoder from texts.

    kind and attributes: of the extension's node, which gives the ids of a text's own pieces. before and after: the ids around
    these. room: how many of a text's own are read.
    """

    kind: str
    before: list[int]
    after: list[int]
    room: int
    attributes: dict[str, Any] = field(repr=False)


def text_reader(
    tokenizer: Tokenizer | E5Tokenizer, *, prompt: str, max_tokens: int | None, add_special_tokens: bool
) -> TextReader:
    """The tokenizer of an encoder as a node. Raises ExportError if the extension has no such node."""
    if isinstance(tokenizer, E5Tokenizer):
        kind, attributes = "SentencepieceTokenizer", {"model": _pieces(tokenizer)}
        *before, end = tokenizer.encode(prompt).ids
        after = [end]
    else:
        kind, attributes = "BertTokenizer", _word_pieces(json.loads(tokenizer.to_str()))
        whole = tokenizer.encode(f"{prompt}a", add_special_tokens=add_special_tokens)
        own, special = tokenizer.encode("a", add_special_tokens=False).ids, whole.special_tokens_mask
        end = len(whole.ids) - next((i for i, one in enumerate(reversed(special)) if not one), 0)
        before, after = whole.ids[: end - len(own)], whole.ids[end:]
        if [*before, *own, *after] != whole.ids:
            raise ExportError(f"the prompt {prompt!r} runs into the text behind it; end it with a space")
    room = NO_LIMIT if max_tokens is None else max_tokens - len(before) - len(after)
    return TextReader(kind, before, after, room, attributes)


def _pieces(tokenizer: E5Tokenizer) -> bytes:
    """The model of sentencepiece with its own table of NFKC, which the tokenizer applies before it asks the model."""
    from sentencepiece import SentencePieceNormalizer

    if not tokenizer.is_plain:
        raise ExportError(f"a tokenizer with a normalizer of its own cannot stand in an ONNX file; {CAN}")
    # of two models one after another, what the second one says counts
    return tokenizer.to_proto() + bytes(SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto())


def _word_pieces(said: dict[str, Any]) -> dict[str, Any]:
    """The node's attributes from what tokenizer.json says."""
    model, normalizer = said["model"], said["normalizer"] or {}
    kinds = [part and part["type"] for part in (model, said["normalizer"], said["pre_tokenizer"])]
    if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"] or not normalizer["clean_text"]:
        shown = ", ".join(str(kind) for kind in kinds)
        raise ExportError(f"a tokenizer of {shown} cannot stand in an ONNX file; {CAN}")
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if [model["vocab"][piece] for piece in pieces] != list(range(len(pieces))) or not all(map(str.strip, pieces)):
        raise ExportError(
            f"a tokenizer whose ids have gaps, or with a blank piece, cannot stand in an ONNX file; {CAN}"
        )
    lower, accents, unknown = normalizer["lowercase"], normalizer["strip_accents"], model["unk_token"]
    return {
        "vocab_file": "\n".join(pieces),
        "do_lower_case": int(lower),
        "strip_accents": int(lower if accents is None else accents),
        "tokenize_chinese_chars": int(normalizer["handle_chinese_chars"]),
        "suffix_indicator": model["continuing_subword_prefix"],
        # the node puts the first two around a text, where they are cut off again; a vocabulary may lack any of these
        **dict.fromkeys(("cls_token", "sep_token", "pad_token", "mask_token", "unk_token"), unknown),
    }


# flat: the own ids of all texts, one after another; starts [texts + 1]: where each text's begin, and the end
PADDED = """
<domain: "meta_text", opset_import: ["" : 18]>
padded (flat, starts, before, after, room) => (token_ids, mask)
{
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  last = Constant <value_ints = [-1]> ()
  far = Constant <value_ints = [9223372036854775807]> ()
  scalar_zero = Constant <value_int = 0> ()
  scalar_one = Constant <value_int = 1> ()
  first = Slice (starts, zero, last, zero)
  next = Slice (starts, one, far, zero)
  found = Sub (next, first)
  kept_1 = Min (found, room)
  kept = Unsqueeze (kept_1, one)
  n_before = Shape (before)
  n_after = Shape (after)
  around = Add (n_before, n_after)
  lengths = Add (kept, around)
  longest_1 = ReduceMax <keepdims = 0> (lengths)
  longest = Max (longest_1, scalar_one)
  places = Range (scalar_zero, longest, scalar_one)
  inner = Sub (places, n_before)
  from_first = Unsqueeze (first, one)
  wanted = Add (from_first, inner)
  n_flat = Shape (flat)
  not_beyond = Min (wanted, n_flat)
  source = Max (not_beyond, zero)
  flat_and_zero = Concat <axis = 0> (flat, zero)
  own = Gather (flat_and_zero, source)
  before_and_zero = Concat <axis = 0> (before, zero)
  before_place = Min (places, n_before)
  at_start = Gather (before_and_zero, before_place)
  behind = Sub (inner, kept)
  after_and_zero = Concat <axis = 0> (after, zero)
  after_low = Max (behind, zero)
  after_place = Min (after_low, n_after)
  at_end = Gather (after_and_zero, after_place)
  is_own = Less (inner, kept)
  is_start = Less (inner, zero)
  own_or_end = Where (is_own, own, at_end)
  token_ids = Where (is_start, at_start, own_or_end)
  mask = Less (places, lengths)
}
"""

# BertTokenizer reads one text at a time
ONE_TEXT = """
one_text (int64 i, bool goes_on, int64[p] flat, int64[s] starts) => (bool still, int64[q] longer, int64[r] ends)
{
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  last = Constant <value_ints = [-1]> ()
  place = Unsqueeze (i, zero)
  text = Gather (texts, place)
  ids, types, attention = ai.onnx.contrib.BertTokenizer (text)
  own = Slice (ids, one, last, zero)
  longer = Concat <axis = 0> (flat, own)
  end = Shape (longer)
  ends = Concat <axis = 0> (starts, end)
  still = Identity (goes_on)
}
"""


def read_texts(file: Path, readers: Mapping[tuple[str, str], TextReader]) -> None:
    """In place: token ids and masks, the graph's inputs of these names, are made of one input `texts`."""
    import onnx
    from onnx import TensorProto, helper, parser

    model = onnx.load(file)
    nodes = [node for names, reader in readers.items() for node in _nodes(names, reader)]
    others = [given for given in model.graph.input if given.name not in {name for names in readers for name in names}]
    texts = helper.make_tensor_value_info(TEXTS, TensorProto.STRING, ["texts"])
    body = list(model.graph.node)
    for field_name, values in (("input", [texts, *others]), ("node", [*nodes, *body])):
        model.graph.ClearField(field_name)
        getattr(model.graph, field_name).extend(values)
    model.functions.append(parser.parse_function(PADDED))
    model.opset_import.extend([helper.make_opsetid(CONTRIB, 1), helper.make_opsetid(OWN, 1)])
    onnx.save(model, file)


def _nodes(names: tuple[str, str], reader: TextReader) -> list[Any]:
    """The nodes that make token ids and mask of these names; those between have the name of the ids before theirs."""
    import numpy as np
    from onnx import helper, numpy_helper, parser

    def constant(name: str, value: Any, kind: Any = np.int64) -> Any:
        made = numpy_helper.from_array(np.asarray(value, kind))
        return helper.make_node("Constant", [], [own(name)], value=made)

    def own(name: str) -> str:
        return f"{names[0]}.{name}"

    given = {"before": reader.before, "after": reader.after, "room": [reader.room]}
    nodes = [constant(name, value) for name, value in given.items()]
    if reader.kind == "BertTokenizer":
        body = parser.parse_graph(ONE_TEXT)
        (each,) = (node for node in body.node if node.op_type == reader.kind)
        each.attribute.extend(helper.make_attribute(key, value) for key, value in reader.attributes.items())
        nodes += [constant("none", []), constant("zero", [0]), helper.make_node("Size", [TEXTS], [own("n")])]
        loop = [own("n"), "", own("none"), own("zero")]
        nodes.append(helper.make_node("Loop", loop, [own("flat"), own("starts")], body=body))
    else:
        options = (("nbest", [0], np.int64), ("alpha", [0], np.float32), ("no", [False], np.bool_))
        nodes += [constant(*option) for option in options]
        asked = [TEXTS, *(own(name) for name in ("nbest", "alpha", "no", "no", "no"))]
        found = [own(name) for name in ("pieces", "starts", "places")]
        nodes.append(helper.make_node(reader.kind, asked, found, domain=CONTRIB, **reader.attributes))
        nodes.append(helper.make_node("Cast", [own("pieces")], [own("flat")], to=7))  # int64
    asked = [own(name) for name in ("flat", "starts", "before", "after", "room")]
    return [*nodes, helper.make_node("padded", asked, list(names), domain=OWN)]
