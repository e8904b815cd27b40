"""Engines: who searches a collection, in this process or elsewhere."""
