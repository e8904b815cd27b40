"""Descriptors -> a search structure."""
