"""The filter for a corpus of any size, on datatrove."""
