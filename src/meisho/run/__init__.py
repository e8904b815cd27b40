"""Runs: the only place that knows the order of the walk, from photos to a scored ranking."""
