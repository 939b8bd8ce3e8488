"""Texts to token states: tokenizers, pretrained encoders, their cache and the precision they run in."""
