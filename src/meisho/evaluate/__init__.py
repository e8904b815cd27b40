"""Ranking x ground truth -> Report."""
