"""Extraction on a cluster: Ray's actors describe photos; this machine reads, sends and writes."""
