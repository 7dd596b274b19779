"""Measuring a model: scores, baselines, comparison."""
