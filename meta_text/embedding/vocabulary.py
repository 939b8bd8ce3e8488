"""The start of a learned embedding before meta-training: its tokenizer, and vectors from co-occurring words."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor


def learn_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """BPE of at most `size` pieces; CJK characters stand alone. Equal texts give equal tokenizers."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()  # sets CJK characters apart
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # not WordPiece: its trainer numbers "##x" pieces in hash order, so two runs differ
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def latent_vectors(tokenizer: Tokenizer, texts: Sequence[str], width: int, seed: int) -> Float[Tensor, "V E"]:
    """Latent semantic analysis of these texts (Deerwester et al., 1990): each piece's direction times its rarity.

    The mean of a text's vectors is then, up to its length, the text's position along the `width` leading singular
    directions of the TF-IDF matrix. Few texts have fewer directions: the rest of `width` is random, as are the
    vectors of pieces that no text contains.
    """
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    size = tokenizer.get_vocab_size()
    generator = torch.Generator().manual_seed(seed)
    vectors: Tensor = torch.randn(size, width, generator=generator) * width**-0.5
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    pieces = np.array([piece for row in rows for piece in row], dtype=np.int64)
    ends = np.cumsum([0, *map(len, rows)])
    counts = csr_matrix((np.ones(len(pieces)), pieces, ends), shape=(len(rows), size))
    counts.sum_duplicates()
    known = min(width, len(rows) - 1, len(set(pieces.tolist())) - 1)
    if known < 1:
        return vectors
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts)
    directions = TruncatedSVD(known, random_state=seed).fit(weigh.transform(counts)).components_
    latent = torch.from_numpy(directions.T * weigh.idf_[:, None]).float()
    seen = torch.from_numpy(np.unique(pieces))
    vectors[seen, :known] = latent[seen]
    return vectors
