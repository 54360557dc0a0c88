"""Pre-training (notebook 02): the plan of learning rate and data, the order of rows, the trainer."""
