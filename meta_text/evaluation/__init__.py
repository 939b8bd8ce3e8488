"""Metrics with intervals, and the baselines that every table prints."""
