"""Getting published data sets: manifests, downloads, unpacking, and the check of what is there."""
