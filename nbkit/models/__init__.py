"""Language models: load, generate, what all trainers set alike, endpoints of others."""

import os

# The trainers' maps take seconds; their bars would fill the notebooks. `datasets` reads this when imported.
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# On a CPU torch keeps a compiled product for each of its last 1,024 shapes; sampling meets a new shape with
# every token: half a gigabyte for nothing. 64 are as fast. oneDNN reads this when torch first multiplies.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
