"""Language models: load, generate, what all trainers set alike, endpoints of others."""

import os

# The trainers' maps take seconds; their bars would fill the notebooks. `datasets` reads this when imported.
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
