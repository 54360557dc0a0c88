"""Refined solutions (notebook 04): checklists, critique, revision, rebuilt chains."""
