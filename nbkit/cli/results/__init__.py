"""The committed results as pages: docs/results.md, the ladder and the claim table of the README.

outputs/reference/*.json   what runs and benchmarks measured; sources.json says which commit made each
reference.py               reads them
text.py                    numbers and tables as Markdown
claims_table.py            one row per claim, with its verdict
pretraining.py training.py measures.py  the sections of the page
ladder.py                  the figure
command.py                 the command
"""
