"""Figures of what was trained, answered and learned, drawn with matplotlib (extra `explain`)."""
