"""Accuracy with honest intervals, figures, and the claims of the report (notebook 07)."""
