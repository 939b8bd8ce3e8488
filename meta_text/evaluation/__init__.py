"""Metrics with intervals, and the baselines of every table."""

from meta_text.evaluation.metrics import EpisodeAccuracy, EpisodeF1, ExpectedCalibrationError

__all__ = ["EpisodeAccuracy", "EpisodeF1", "ExpectedCalibrationError"]
