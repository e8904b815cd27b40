"""Geometry of pairs of photos: matching of local features, and models that matches agree on."""
