"""Reranking: Ranking -> Ranking."""
