"""Reinforcement learning (notebook 06)."""
