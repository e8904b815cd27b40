"""torch parts shared by extraction and training."""
