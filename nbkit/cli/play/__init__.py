"""A page that answers questions with the checkpoints of a profile, offline: `nbkit report --play`.

checkpoints.py     finds the checkpoints, refuses what the page cannot run, packs their weights
questions.py       the forms in which they are asked, and the example questions
page.py            writes outputs/<profile>/report/play.html
decoder.js         tokenizer, model and decoding in plain JavaScript
worker.js page.js page.html    the worker of one checkpoint, and the page around them
"""
