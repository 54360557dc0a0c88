"""Runs on a Slurm cluster: scripts that a reader can copy, their submission, the queue, the logs."""
