"""Models as their authors published them: one file per layout of a checkpoint."""
