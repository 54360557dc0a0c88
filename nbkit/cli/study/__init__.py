"""Claims over seeds: run them, compare them, draw them."""
