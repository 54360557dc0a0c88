"""The rules that score a document on twenty dimensions of quality (notebook 01)."""
