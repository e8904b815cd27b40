"""Folders, tables and benchmarks -> Dataset."""
