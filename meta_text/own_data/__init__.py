"""This package beside others on a person's own labelled texts."""

from meta_text.own_data.comparison import Comparison, benchmark

__all__ = ["Comparison", "benchmark"]
