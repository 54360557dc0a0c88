"""GRPO on trl.GRPOTrainer: several devices, vLLM, rollouts that call Python (notebook 06)."""
