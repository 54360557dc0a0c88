"""Which documents are kept (notebook 01): deduplication, contamination, quality, retrieval, pools."""
