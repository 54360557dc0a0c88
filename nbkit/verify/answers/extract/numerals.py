r"""Numbers in running text (for `statements.py`).

join_groups("1 200 people and 1 234 567")  # "1200 people and 1234567"
"""

import re

NUMBER_WORDS = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million)"
)
_SPACED = re.compile("(?<=[0-9])[\u2009\u202f\u00a0\u2007](?=[0-9]{3}(?![0-9]))")  # thin spaces in thousands
# Ordinary spaces in thousands: of several groups (1 234 567), or of one before a unit (1 200 people).
_GROUPED = re.compile(
    r"(?<![\w.,$\\^/])(?<![0-9] )[1-9][0-9]{0,2}"
    r"(?: [0-9]{3}(?:(?: [0-9]{3})+(?![0-9])|(?=\.[0-9]| [A-Za-z]{2})))"
    r"(?! [0-9]|/|,[0-9])"
)
LIST_LABEL = re.compile(r"[ \t]{0,8}[0-9]{1,3}[.)][ \t]")
NUMBER = re.compile(
    r"(?:(?<=is )|(?<=are )|(?<=be )|(?<=ratio ))[0-9]{1,20}(?: : [0-9]{1,20}){1,5}(?!\w|\.[0-9])"
    rf"|(?m:^){LIST_LABEL.pattern}"  # is skipped
    r"|(?<![A-Za-z0-9_.\\^])[-−]?"
    r"(?:(?:[1-9][0-9]{0,2}(?:['’][0-9]{3})+(?![0-9])|[0-9]+(?:,[0-9]+)*)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:\s?(?:×|\\times|\*)\s?10\^\{?-?[0-9]{1,9}\}?)?(?:[/:][0-9]+)*(?:%|π|°|√[0-9]+)?"
)
BARE_LATEX = re.compile(
    r"-?[0-9]{0,20}\\(?:[dtc]?frac\{[^{}\n]{1,200}\}\{[^{}\n]{1,200}\}|sqrt\{[^{}\n]{1,200}\})"
)
MONEY = re.compile(r"[$€£¥]\s?([0-9][0-9.,]*)|([0-9][0-9.,]*)\s?[$€£¥](?![0-9])")


def join_groups(text: str) -> str:
    """Numbers without the spaces between their thousands."""
    return _GROUPED.sub(lambda match: match[0].replace(" ", ""), _SPACED.sub("", text))
