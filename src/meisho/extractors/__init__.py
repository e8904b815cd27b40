"""Images -> global descriptors."""
