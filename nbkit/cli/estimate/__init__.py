"""What a profile will take before it runs: FLOPs, memory, hours, cost, disk. `nbkit plan` prints it."""
