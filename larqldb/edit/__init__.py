"""Edits: how facts are inserted, changed and deleted. Arrays and numbers, never table layout."""
