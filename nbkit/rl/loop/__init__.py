"""GRPO as a plain loop: sample, grade, update (notebook 06)."""
