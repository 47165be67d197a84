"""The file: opening it, its schema, its tensors, its checksums."""
