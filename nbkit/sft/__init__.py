"""Supervised fine-tuning (notebooks 03 and 04)."""
