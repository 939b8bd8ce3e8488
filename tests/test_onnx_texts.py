"""Tokenizers in an ONNX file: the ids that Python's give, also cut and padded; whole files from texts to probabilities."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_e5
from encoder_folders import WORDS, plain_folder, word_tokenizer
from onnx_example import reader as program
from small_mixture import ASKED, LABELS, TEXTS, base_folder
from test_classifier import LABELS as WINE_LABELS
from test_classifier import MODEL
from test_classifier import TEXTS as WINE_TEXTS
from test_tables import run
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from meta_text import FewShotClassifier
from meta_text.embedding.e5 import load_e5
from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.onnx_texts import read_texts, text_reader
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.errors import ExportError
from meta_text.extras import missing_packages

onnx = pytest.importorskip("onnx", reason="not installed: onnx; the extra [onnx] brings it")
extensions = pytest.importorskip("onnxruntime_extensions", reason="not installed: onnxruntime-extensions")
needs_onnx = pytest.mark.skipif(bool(missing_packages("onnx")), reason="the extra [onnx] brings what is missing")

PIECES = ["where", "is", "my", "card", "lost", "it", "the", "bank", "gone", "query", ":", "a", "b", "##s", "##k", "caf"]
PIECES += ["##e", "。", "好", ".", "-", "##card"]
ODD = ["Where is MY card", "", " \t\n", "cards, card-gone.", "好card好", "Café cafe\u0301", "zzz", "cardb", "a " * 40]


def word_pieces(pieces: Sequence[str] = PIECES, **normalizer: Any) -> Tokenizer:
    """A tokenizer of BERT's kind."""
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A $B [SEP]", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def ids_of(tokenizer: Tokenizer | E5Tokenizer, texts: Sequence[str], file: Path, **said: Any) -> tuple[Any, Any]:
    """Token ids and mask that the nodes make of these texts."""
    import onnxruntime
    from onnx import TensorProto, helper

    kinds = {"token_ids": TensorProto.INT64, "mask": TensorProto.BOOL}
    given = [helper.make_tensor_value_info(name, kind, ["n", "t"]) for name, kind in kinds.items()]
    taken = [helper.make_tensor_value_info(f"{name}_out", kind, ["n", "t"]) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    graph = helper.make_graph(nodes, "same", given, taken)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    read_texts(file, {("token_ids", "mask"): text_reader(tokenizer, **said)})
    found = session(file).run(None, {"texts": np.array(texts, object)})
    assert [one.name for one in onnxruntime.InferenceSession(file, options(), providers=CPU).get_inputs()] == ["texts"]
    return found[0], found[1]


CPU = ["CPUExecutionProvider"]


def options() -> Any:
    import onnxruntime

    made = onnxruntime.SessionOptions()
    made.register_custom_ops_library(extensions.get_library_path())
    return made


def session(file: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(file, options(), providers=CPU)


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """As the program of docs/onnx.md pads."""
    width = max(1, *map(len, rows))
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), bool)
    for row, (its_ids, its_mask) in zip(rows, zip(ids, mask, strict=True), strict=True):
        its_ids[: len(row)], its_mask[: len(row)] = row, True
    return ids, mask


@needs_onnx
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("prompt", ["", "query: "])
@pytest.mark.parametrize("max_tokens", [9, None])
def test_word_pieces(special: bool, prompt: str, max_tokens: int | None, tmp_path: Path) -> None:
    tokenizer = word_pieces()
    node = ids_of(
        tokenizer, ODD, tmp_path / "ids.onnx", prompt=prompt, max_tokens=max_tokens, add_special_tokens=special
    )
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens)
    rows = [one.ids for one in tokenizer.encode_batch([prompt + text for text in ODD], add_special_tokens=special)]
    expected = padded(rows)
    # a word of which only the beginning is known is one unknown piece here, and in the node what is known of it as well
    same = [i for i, text in enumerate(ODD) if text != "cardb"]
    for found, wanted in zip(node, expected, strict=True):
        np.testing.assert_array_equal(found[same], wanted[same])
    assert max(map(len, rows)) == node[0].shape[1]


@needs_onnx
def test_a_word_of_which_the_end_is_unknown(tmp_path: Path) -> None:
    """How the node differs from BERT's tokenizer, as docs/onnx.md has it; where this fails, the page is to be changed."""
    said = {"prompt": "", "max_tokens": None, "add_special_tokens": True}
    found, _ = ids_of(word_pieces(), ["cardb"], tmp_path / "ids.onnx", **said)
    pieces = word_pieces().encode("card [UNK]", add_special_tokens=False).ids
    assert word_pieces().encode("cardb").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert found[0].tolist() == [2, pieces[0], 1, 3]


@needs_onnx
@pytest.mark.parametrize("lowercase", [True, False])
def test_settings_of_the_normalizer(lowercase: bool, tmp_path: Path) -> None:
    tokenizer = word_pieces(lowercase=lowercase, handle_chinese_chars=False)
    texts = ["Where is my card", "where IS", "好card", "好 好"]
    found, _ = ids_of(tokenizer, texts, tmp_path / "ids.onnx", prompt="", max_tokens=None, add_special_tokens=True)
    expected, _ = padded([one.ids for one in tokenizer.encode_batch(texts)])
    # "好card" is one word, which the node knows the beginning of
    np.testing.assert_array_equal(found[[0, 1, 3]][:, : expected.shape[1]], expected[[0, 1, 3]])
    assert found[2].tolist()[:5] == [2, tokenizer.token_to_id("好"), tokenizer.token_to_id("##card"), 3, 0]


@needs_onnx
@pytest.mark.parametrize("max_tokens", [8, 30])
def test_pieces_of_multilingual_e5(max_tokens: int, tmp_path: Path) -> None:
    tokenizer = E5Tokenizer.from_pieces(small_e5.PIECES)
    texts = ["my card", "", "\uff4d\uff59\u3000card", "lost my\tcard", "a b c " * 9, "my  lost", "z my", "abc"]
    said = {"prompt": "", "max_tokens": max_tokens, "add_special_tokens": True}
    found = ids_of(tokenizer, texts, tmp_path / "ids.onnx", **said)
    tokenizer.enable_truncation(max_tokens)
    expected = padded([one.ids for one in tokenizer.encode_batch_fast(texts)])
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].shape[1] == (8 if max_tokens == 8 else 4 + 27 - 1)


def encoder_of_word_pieces(path: Path) -> str:
    folder = plain_folder(path)
    word_pieces(WORDS).save(str(folder / "tokenizer.json"))
    return str(folder)


def asked(file: Path, texts: Sequence[str]) -> np.ndarray:
    """Probabilities from texts, and from counts where the file wants them."""
    runs = session(file)
    inputs: dict[str, Any] = {"texts": np.array(texts, object)}
    encoders = json.loads(runs.get_modelmeta().custom_metadata_map["encoders"])
    for encoder in encoders:
        if encoder["kind"] == "lexical":
            lexical = program_without_a_file()["lexical"]
            inputs["counts_lexical"] = np.stack([lexical(text, encoder["width"]) for text in texts])
    (found,) = runs.run(["probabilities"], inputs)
    return found


def program_without_a_file() -> dict[str, Any]:
    from onnx_example import READS

    names: dict[str, Any] = {}
    functions = READS[READS.index("def murmur3") : READS.index("def tokens")]
    exec(compile("import re\nimport numpy as np\n" + functions, "onnx.md", "exec"), names)
    return names


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


@needs_onnx
@pytest.mark.long
@pytest.mark.usefixtures("in_float32")
def test_from_texts_to_probabilities(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", [encoder_of_word_pieces(tmp_path / "of_base")])
    e5 = TransformerEncoder("e5", load_e5(small_e5.checkpoint(tmp_path / "e5")), normalize=True)
    encoders = [encoder_of_word_pieces(tmp_path / "pieces"), e5, "lexical"]
    classifier = FewShotClassifier(base, embedding=encoders, device="cpu").fit(TEXTS, LABELS)
    classifier.export_onnx(tmp_path / "texts.onnx", tokenizer=True)
    np.testing.assert_allclose(asked(tmp_path / "texts.onnx", ASKED), classifier.predict_proba(ASKED), atol=1e-5)
    stored = session(tmp_path / "texts.onnx").get_modelmeta().custom_metadata_map
    assert not any(name.startswith("tokenizer") for name in stored)
    assert [each["inputs"] for each in json.loads(stored["encoders"])] == [["texts"], ["texts"], ["counts_lexical"]]


@needs_onnx
@pytest.mark.long
@pytest.mark.usefixtures("in_float32")
def test_in_eight_bits(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", [encoder_of_word_pieces(tmp_path / "pieces")])
    classifier = FewShotClassifier(base, device="cpu").fit(TEXTS, LABELS)
    classifier.export_onnx(tmp_path / "texts.onnx", tokenizer=True, int8=True)
    classifier.export_onnx(tmp_path / "mine.onnx", int8=True)
    expected = program(tmp_path)["predict_proba"](ASKED)
    np.testing.assert_allclose(asked(tmp_path / "texts.onnx", ASKED), expected, atol=1e-5)


@needs_onnx
@pytest.mark.long
@pytest.mark.usefixtures("in_float32")
def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of_word_pieces(tmp_path / "pieces")
    classifier = FewShotClassifier(base_folder(tmp_path / "base", [encoder]), device="cpu").fit(TEXTS, LABELS)
    classifier.save_pretrained(tmp_path / "mine")
    assert run(monkeypatch, "export", str(tmp_path / "mine"), "--out", str(tmp_path / "a.onnx"), "--tokenizer") == 0
    np.testing.assert_allclose(asked(tmp_path / "a.onnx", ASKED), classifier.predict_proba(ASKED), atol=1e-5)


SAID = {"max_tokens": 16, "add_special_tokens": True}


def test_tokenizers_without_a_node_are_refused_with_the_way_out(tmp_path: Path) -> None:
    way_out = (
        "the tokenizers of BERT (WordPiece, as of MiniLM) and multilingual-e5 can be; export without tokenizer=True"
    )
    words = word_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    with pytest.raises(
        ExportError,
        match=re.escape(f"a tokenizer of WordLevel, None, Whitespace cannot stand in an ONNX file; {way_out}"),
    ):
        text_reader(words, prompt="", **SAID)
    with pytest.raises(ExportError, match=re.escape("a tokenizer of WordPiece, BertNormalizer, BertPreTokenizer")):
        text_reader(word_pieces(clean_text=False), prompt="", **SAID)
    gap = json.loads(word_pieces().to_str())
    gap["model"]["vocab"]["far"] = 99
    with pytest.raises(ExportError, match="a tokenizer whose ids have gaps, or with a blank piece, cannot stand"):
        text_reader(Tokenizer.from_str(json.dumps(gap)), prompt="", **SAID)
    with pytest.raises(ExportError, match=r"the prompt 'query' runs into the text behind it; end it with a space"):
        text_reader(word_pieces(), prompt="query", **SAID)
    lower = E5Tokenizer.from_pieces(small_e5.PIECES)
    lower.normalizer = normalizers.Sequence([normalizers.Lowercase(), lower.normalizer])
    with pytest.raises(ExportError, match="a tokenizer with a normalizer of its own cannot stand in an ONNX file"):
        text_reader(lower, prompt="", **SAID)


@needs_onnx
def test_a_learned_embedding_is_refused_before_the_work(tmp_path: Path) -> None:
    classifier = FewShotClassifier(MODEL, device="cpu").fit(WINE_TEXTS, WINE_LABELS)
    with pytest.raises(ExportError, match="a tokenizer of BPE, BertNormalizer, BertPreTokenizer cannot stand"):
        classifier.export_onnx(tmp_path / "a.onnx", tokenizer=True)
    assert not (tmp_path / "a.onnx").exists()
