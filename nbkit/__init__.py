"""nbkit: the thin helper behind the seven notebooks. Importing it is cheap: no torch, no numpy.

Every notebook opens with the same three cells::

    import nbkit
    run = nbkit.begin(globals(), "02_pretrain")   # cell A
    steps: int = 200                              # cell B, tagged "parameters": annotated literals only
    cfg = nbkit.end(globals())                    # cell C: strict check, run folder, seeds
    ...
    run.publish({"held-out accuracy": 0.43})      # last cell: metrics.json, manifest.json, _SUCCESS
"""

import sys
import warnings

if sys.version_info < (3, 11):  # before anything that an older Python cannot read
    told = "nbkit: Python 3.11 or later is needed, found %d.%d.%d (%s); see docs/running.md" % (
        tuple(sys.version_info[:3]) + (sys.executable,)
    )
    if sys.argv[:1] == ["-m"] or sys.argv[0].endswith(("nbkit", "nbkit.exe")):  # the command line
        sys.stderr.write(told + "\n")
        sys.exit(2)
    raise ImportError(told)

from nbkit.run import moved
from nbkit.run.stage import Run, begin, end

moved.install()

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "begin", "end"]

# tqdm asks for ipywidgets, whose bars hold nothing once a notebook is saved; the text bar is meant
warnings.filterwarnings("ignore", message="IProgress not found")
