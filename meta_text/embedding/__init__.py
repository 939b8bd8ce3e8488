"""Texts to token states: tokenizers, pretrained encoders, their cache and the precision they run in."""

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_states import TokenIds, TokenStates

__all__ = ["Embedding", "TokenIds", "TokenStates"]
