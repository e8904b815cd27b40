"""The collection on disk: photo records, descriptors and local features; indexes are derived from it."""
