"""Geometry of photo pairs: matching local features, and finding the model that the matches agree on."""
