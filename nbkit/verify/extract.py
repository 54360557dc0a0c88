"""The final answer of a solution (notebooks 04, 06 and 07): the text a completion commits to.

extract_answer("so x = \\boxed{\\frac{1}{2}}.")  # "\\frac{1}{2}"
"""

import re

_WIDE = str.maketrans("０１２３４５６７８９，．％（）：−–＋／＝", "0123456789,.%():--+/=")
_MARKER = re.compile(
    r"\\(?:boxed|fbox)\s*\{|####|\b(?:final\s+)?answer\s*(?:is\b\s*:?|:)|答案(?:是|为|:)?:?", re.IGNORECASE
)
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_IN_TEXT = re.compile(rf"(?<![\w.])-?(?:{_NUMBER})(?:/[0-9]+)?%?")
_BOLD = re.compile(r"(?<!\S)\*\*([^\s*][^*]*)\*\*(?![\w(])")


def extract_answer(text: str) -> str:
    """The final answer a solution states, as written; "" when there is none.

    Only text after `</think>` counts (an unfinished thought has no answer). The last explicit marker wins:
    `\\boxed{}`, `####`, "Answer:", "The answer is". Without one: the last line if it is a formula (what
    follows its last "="), else the last number, else the last line.
    """
    if "<think>" in text and "</think>" not in text:
        return ""
    text = text.rpartition("</think>")[2].translate(_WIDE).strip()
    markers = list(_MARKER.finditer(text))
    if markers:
        return _after_marker(text, markers[-1])
    last_line = text.rpartition("\n")[2].strip()
    if not re.search(r"(?<!\\)\b(?!sqrt|pi\b)[^\W\d_]{2}", last_line):  # no word, so the line is a formula
        return last_line.rpartition("=")[2].strip("$ ")
    numbers = _IN_TEXT.findall(text)
    return numbers[-1] if numbers else last_line


def _after_marker(text: str, marker: re.Match) -> str:
    rest = text[marker.end() :]
    if marker.group().endswith("{"):
        depth = 1
        for position, character in enumerate(rest):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == 0:
                return rest[:position].strip()
        return ""  # the box never closes: the answer was cut off
    line = _BOLD.sub(r"\1", rest.strip().partition("\n")[0]).strip("* ")
    sentence = re.match(r"(.*?)[.。](?:\s+[A-Z\u4e00-\u9fff].*)?$", line)
    return (sentence.group(1) if sentence else line).strip("* ")
