"""Dual preference distillation (notebook 05)."""
