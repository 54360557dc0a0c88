"""nbkit: the thin helper behind the seven notebooks. Importing it is cheap: no torch, no numpy.

Every notebook opens with the same three cells::

    import nbkit
    run = nbkit.begin(globals(), "02_pretrain")   # cell A
    steps: int = 200                              # cell B, tagged "parameters": annotated literals only
    cfg = nbkit.end(globals())                    # cell C: strict check, run folder, seeds
    ...
    run.publish({"held-out accuracy": 0.43})      # last cell: metrics.json, manifest.json, _SUCCESS
"""

import warnings

from nbkit.stage import Run, begin, end

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "begin", "end"]

# tqdm asks for ipywidgets, whose bars hold nothing once a notebook is saved; the text bar is meant
warnings.filterwarnings("ignore", message="IProgress not found")
