"""Training: labelled photos -> the weights that extractors read."""
