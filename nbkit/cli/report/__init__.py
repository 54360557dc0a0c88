"""The run report: HTML about one run, or two side by side, readable offline. Used by commands.py.

    gather.py       all that the page of one run shows, as a plain dict
    stage_facts.py  one stage: status, headline, time, memory, figures
    captions.py     what each figure shows
    notebook.py     its executed notebook: as a page, its title, its longest cells
    formulas.py     its formulas as MathML
    ledger.py       the claims of the last stage, and three sentences about them
    parameters.py   the parameters, and which differ from the profile's
    two_runs.py     what the page of two runs shows
    values.py       numbers as text, differences
    pages.py        writes the pages from templates/

Nothing is fetched and no script runs: style and figures stand in the page, formulas are MathML.
"""

from nbkit.cli.report.pages import build as build
from nbkit.cli.report.pages import compare as compare
