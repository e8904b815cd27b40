"""Search by local features: a codebook, residuals aggregated per visual word, and an inverted file (ASMK)."""
