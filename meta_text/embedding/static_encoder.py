"""Static models: a text's vector is the mean of its tokens' vectors, which need no neighbours and no network."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from meta_text.embedding.batching import CHUNK_TEXTS
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.scripts import piece_signs, unread_pieces
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import ModelFileError


class StaticEncoder(SentenceEncoder):
    """The mean over a text's tokens of rows of a matrix [rows, width]; a text without a known token gives zeros.

    Texts are read whole, however long. token_rows: which row is each token's, if not the one of its number.
    token_weights: by which each token's row is multiplied before the mean. skip_unknown: the token for what the
    vocabulary lacks is left out, as model2vec does. keep: the first numbers only. Then the vector gets length 1 where
    `normalize` says so.
    """

    @own_settings()
    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        matrix: Tensor,
        *,
        token_rows: Tensor | None = None,
        token_weights: Tensor | None = None,
        skip_unknown: bool = False,
        normalize: bool = False,
        keep: int | None = None,
        prompt: str = "",
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.name, self.tokenizer, self.prompt, self.normalize = name, tokenizer, prompt, normalize
        self.matrix = matrix[:, :keep].float().contiguous()
        self.token_rows = None if token_rows is None else token_rows.long()
        self.token_weights = None if token_weights is None else token_weights.float()
        self.width = self.matrix.shape[1]
        self.unknown = unknown_token(tokenizer) if skip_unknown else None
        self._unread = unread_pieces(tokenizer)

    @own_settings()
    @torch.no_grad()
    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        parts: list[Tensor] = []
        is_unread: list[bool] = []
        for start in range(0, len(texts), CHUNK_TEXTS):
            chunk = [self.prompt + text for text in texts[start : start + CHUNK_TEXTS]]
            ids = [e.ids for e in self.tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            is_unread += [2 * sum(piece in self._unread for piece in each) > len(each) for each in ids]
            parts += self._means([[i for i in each if i != self.unknown] for each in ids]).unbind()
            if progress is not None:
                progress(len(parts), len(texts))
        return Represented(parts, [False] * len(parts), is_unread)

    @property
    def piece_signs(self) -> Tensor:
        """What each piece adds to a sum that is positive where a text is unread, for programs that have only token ids."""
        return piece_signs(self.tokenizer, self._unread)

    def digest(self) -> str:
        digest = hashlib.sha256(self.tokenizer.to_str().encode())
        digest.update(repr((self.unknown, self.normalize, self.prompt)).encode())
        for tensor in (self.matrix, self.token_rows, self.token_weights):
            digest.update(b"none" if tensor is None else repr(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    def _means(self, ids: list[list[int]]) -> Tensor:
        counts_B1 = torch.tensor([[max(1, len(each))] for each in ids], dtype=torch.float32)
        starts_B = torch.tensor([0, *(len(each) for each in ids[:-1])], dtype=torch.long).cumsum(0)
        flat_T = torch.tensor([i for each in ids for i in each], dtype=torch.long)
        rows_T = flat_T if self.token_rows is None else self.token_rows[flat_T]
        weights_T = None if self.token_weights is None else self.token_weights[flat_T]
        sums_BD = F.embedding_bag(rows_T, self.matrix, starts_B, mode="sum", per_sample_weights=weights_T)
        means_BD = sums_BD / counts_B1
        return F.normalize(means_BD, dim=-1) if self.normalize else means_BD


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """The token for what the vocabulary lacks, if there is one."""
    model = tokenizer.model
    if hasattr(model, "unk_token"):
        return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
    unknown = json.loads(tokenizer.to_str())["model"].get("unk_id")  # of a unigram model
    return None if unknown is None else int(unknown)


def read_static(folder: Path) -> tuple[Tokenizer, dict[str, Tensor]]:
    """The tokenizer, and `matrix`, `token_rows` and `token_weights` as far as the folder has them.

    Raises ModelFileError where they do not fit each other.
    """
    from safetensors.torch import load_file

    stored = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    matrix = stored.get("embeddings", stored.get("embedding.weight"))
    if matrix is None or matrix.ndim != 2:
        raise ModelFileError(
            f"{folder}/model.safetensors holds {', '.join(stored) or 'no tensor'}; a static model needs the matrix "
            "'embeddings' (model2vec) or 'embedding.weight' (sentence-transformers)"
        )
    tensors = {"matrix": matrix}
    if "mapping" in stored:
        tensors["token_rows"] = stored["mapping"]
    if "weights" in stored:
        tensors["token_weights"] = stored["weights"]
    last = max(tokenizer.get_vocab().values(), default=-1)
    for tensor in (tensors.get("token_rows", matrix), *([stored["weights"]] if "weights" in stored else [])):
        if last >= len(tensor):
            raise ModelFileError(
                f"{folder}: tokenizer.json has a token {last}, but model.safetensors has only {len(tensor)} "
                "rows for them; both must come from one model, download it again"
            )
    if "mapping" in stored and int(stored["mapping"].max()) >= len(matrix):
        raise ModelFileError(
            f"{folder}/model.safetensors maps a token to row {int(stored['mapping'].max())}, but has only "
            f"{len(matrix)} rows; download it again"
        )
    if not all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise ModelFileError(f"{folder}/model.safetensors holds numbers that are not finite; download it again")
    return tokenizer, tensors
