"""The final answer of a solution (notebooks 04, 06 and 07): the text a completion commits to.

The conventions stand in docs/answers.md. In short: thoughts do not count; the last box, `<answer>` tag or
`####` wins over prose before it, and over prose behind it that is no plain value; boxes joined by "and", "or"
or a comma are one list; without a marker the last formula or number counts (`statements.py` reads sentences).

    extract_answer("so x = \\\\boxed{\\\\frac{1}{2}}.")  # "\\frac{1}{2}"
    extract_answer("The answer is 72, in total, so she can pay.")  # "72"
"""

import re
from typing import NamedTuple

from nbkit.text.chat import END_THINK, split_thought
from nbkit.verify.answers.extract.bounds import behind_denial, starts_with_bound
from nbkit.verify.answers.extract.boxes import inside, without_words
from nbkit.verify.answers.extract.clauses import starts_with_value
from nbkit.verify.answers.extract.marks import list_items
from nbkit.verify.answers.extract.markup import plain, without_signs
from nbkit.verify.answers.extract.statements import DENIED, Certainty, last_value, read_statement
from nbkit.verify.answers.extract.words import about, foreign
from nbkit.verify.answers.extract.words.rivals import OTHER_FORM, hedged, tied
from nbkit.verify.answers.parse.clean import MAX_ANSWER

MAX_MARKERS = 64  # markers that are looked at, from the end: nobody states an answer more often
_BOX_LENGTH = 4 * MAX_ANSWER  # a box that has not closed by then holds no answer
_WIDE = str.maketrans("０１２３４５６７８９，．％（）：−–－﹣＋／＝", "0123456789,.%():----+/=")
_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_TURN_ENDS = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|end_of_text|end|eos)\|>|</s>|<eos>|<end_of_turn>"
)
_NEXT_QUESTION = re.compile(
    r"\n[ \t#*]{0,8}(?:question|problem|exercise|example|user|human|q|问题|问|题目)"
    r"[ \t]{0,3}[0-9]{0,4}[ \t*]{0,5}:",
    re.IGNORECASE,
)
_STRONG = re.compile(
    r"(?P<box>\\(?:boxed|fbox|framebox)(?![a-zA-Z]))|(?P<tag><(?:final_)?answer(?:\s[a-z]{1,20}=[^<>\n]{1,40})?>)|(?P<hash>(?<!#)#{4}(?!#))",
    re.IGNORECASE,
)
_TAG_CLOSES = re.compile(r"</(?:final_)?answer>", re.IGNORECASE)
_SAYS = (
    r"(?:\bis|\bare|\bwas|\b(?:would|could|might|may|should|must|will) be|\bbecomes|\bequals)\b(?!\s{0,3}n't)"
)
_DENIES = (  # "isn't 5", "cannot be 8": the statement begins with the denial
    r"\b(?:is|was|are|were|would|should|could|must|does|did|can|will)"
    r"(?=\s?n['’]t\b|['’]t\b|not\b|\s(?:not|never)\b)"
)
_SIGN = r"(?:[:：=→⇒⟹]|[=-]>|—|−>)"
_ABOUT = r"(?:\s{1,3}\([^()\n]{1,40}\)|\s{1,3}(?:to|for|of)\b[^.:;!?\n=]{1,60}?)?"
_PROSE = re.compile(
    rf"\b(?:final\s{{1,3}})?answers?\b(?!\s+choices)[*_\"'`]{{0,4}}{_ABOUT}\s{{0,3}}[*_]{{0,3}}"
    rf"(?:{_DENIES}|{_SAYS}(?:\s{{0,3}}[*_]{{0,3}}:)?|{_SIGN})"
    rf"|\bfinal\s{{1,3}}answer\s{{1,3}}(?=[$\\0-9])"
    rf"|^[ \t#*_>]{{0,8}}(?:the\s)?(?:final\s)?answer[ \t*_#.]{{0,8}}$"
    rf"|\bcorrect\s(?:option|choice|letter)\s{{1,3}}(?:is\b|:)"
    rf"|\b(?:{foreign.ANSWER})(?!\w)[*_]{{0,3}}\s{{0,3}}(?:{foreign.IS}(?:\s{{0,3}}[*_]{{0,3}}:)?|{_SIGN})"
    r"|答案[*_]{0,3}(?:是|为|為|应为|選|选)?[*_]{0,3}:?|(?:^|(?<=[\s。,*]))[答解]:|故选|故選|应选|答え[*_]{0,3}(?:は|:)"
    r"|(?:정답|답)[*_]{0,3}(?:은|는|:)",
    re.IGNORECASE | re.MULTILINE,
)
_STATES_BY_SIGN = re.compile(r"[:：=→⇒⟹>—*_\s]$")
_OTHER_ANSWER = re.compile(  # "let us check our answer: ...", "a wrong answer is ..."
    r"(?:\b(?:check|verify|confirm|test)(?:ing)?(?:\s(?:our|the|this|my|your|that))?"
    r"|\b(?:wrong|incorrect|false|previous|earlier|initial|first))(?:\sfinal)?\s{1,3}(?:the\s)?$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?:step\b|part\b|case\b|[0-9]{1,2}[.)]\s+\S)", re.IGNORECASE)


class _Found(NamedTuple):
    end: int  # of the marker and what it holds
    answer: str
    certainty: Certainty


def extract_answer(text: str) -> str:
    """The final answer a solution states, as written, at most MAX_ANSWER characters; "" when there is none.

    Never raises, and takes time in proportion to the length, whatever the text is.
    """
    text = plain(_spoken(text).translate(_WIDE))
    text = without_signs(_own_part(text).strip())
    found = _marked(text)
    answer = without_signs(without_words(last_value(text) if found is None else found))
    return answer if len(answer) <= MAX_ANSWER else ""


def _spoken(text: str) -> str:
    """What stands outside of thoughts; "" for a thought that never ends.

    One thought ends where it ends for every reader (nbkit.text.chat). Read here is what that does not know:
    tags of other names, thoughts that never end, and several that end, of which the last counts
    (docs/answers.md)."""
    rest = split_thought(text)[1]
    if split_thought(rest)[0] is None and all(tag[0] == END_THINK for tag in _THOUGHT.finditer(rest)):
        return rest  # a tag that is left is only spoken of
    pieces, opened = [], [False]
    at = 0
    for tag in _THOUGHT.finditer(text):
        pieces.append(text[at : tag.start()])
        opened.append(not tag[1])
        at = tag.end()
    pieces.append(text[at:])
    # pieces[i] follows tag i; opened[i] says that this tag was an opening one
    closes = [i for i in range(1, len(pieces)) if not opened[i]]
    if not closes:
        return pieces[0] if len(pieces) == 1 or pieces[0].strip() else ""
    last = closes[-1]
    if not pieces[last].strip() and last - 1 in closes and last == len(pieces) - 1:
        return pieces[last - 1]  # a stray closing tag behind the answer
    return pieces[last]


def _own_part(text: str) -> str:
    """The text up to where the model goes on as somebody else: a token that ends the turn, or a question
    of its own behind an answer (models with few-shot prompts in their data do that)."""
    blank = len(text) - len(text.lstrip())
    for end in _TURN_ENDS.finditer(text):
        if end.start() > blank:
            text = text[: end.start()]
            break
    stated = [first.end() for first in (_STRONG.search(text), _PROSE.search(text)) if first]
    question = _NEXT_QUESTION.search(text, min(stated)) if stated else None
    return text[: question.start()] if question else text


def _marked(text: str) -> str | None:
    """The answer behind the marker that counts, None without one."""
    # The last box, tag or ####; words of an answer count behind it only.
    strong = _last_strong(text)
    prose: list[_Found] = []
    behind = strong.end if strong else 0
    denied, rest = False, ""
    for marker in reversed(list(_PROSE.finditer(text))[-MAX_MARKERS:]):
        # From the end backwards: what is said last counts.
        if marker.start() < behind:
            break
        if _OTHER_ANSWER.search(text[max(0, marker.start() - 40) : marker.start()]):
            continue
        by_sign = bool(_STATES_BY_SIGN.search(marker[0]))
        if stated := read_statement(text[marker.end() : marker.end() + 4 * MAX_ANSWER], by_sign):
            # "It is false that the answer is 5" denies it, "Suppose the answer is 5" states nothing.
            if not by_sign and (about.denied(text, marker.start()) or about.supposed(text, marker.start())):
                rest = rest or about.behind_sentence(text, marker.end())
                stated = DENIED
            denied |= stated == DENIED
            if stated != DENIED:
                prose.append(_Found(marker.end(), *stated))
    # Prose overrules a box only by a plain value.
    least = Certainty.VALUE if strong else Certainty.SENTENCE
    for found in prose:
        if found.certainty >= least:
            return found.answer
    if strong:
        return strong.answer
    if prose:
        return prose[0].answer
    if denied and re.search("[0-9]", rest):
        return last_value(rest)  # behind what was only supposed
    return "" if denied else None


def _last_strong(text: str) -> _Found | None:
    """The last box, tag or `####` that holds something. An unclosed box is an answer cut off: ""."""
    markers = list(_STRONG.finditer(text))[-MAX_MARKERS:]
    for i in range(len(markers) - 1, -1, -1):
        marker = markers[i]
        if marker["box"]:
            # A box: an open one was cut off, an empty one is skipped.
            content, end = _braced(text, marker.end())
            if end < 0:
                return _Found(marker.end(), "", Certainty.VALUE)
            if content.strip():
                boxes = _joined(text, markers[: i + 1])
                return _Found(end, ", ".join(boxes), Certainty.VALUE)
        elif marker["tag"]:
            # A tag: up to its end, or what fits where it has none.
            closing = _TAG_CLOSES.search(text, marker.end(), marker.end() + _BOX_LENGTH)
            rest = text[marker.end() : closing.start() if closing else marker.end() + _BOX_LENGTH]
            if rest.strip():
                stated = read_statement(rest, by_sign=True) if list_items(rest) else None
                answer = stated[0] if stated else inside(rest)
                answer = _with_rival(text, markers[: i + 1], answer)
                return _Found(closing.end() if closing else len(text), answer, Certainty.VALUE)
        elif _heading_behind(text, marker.end(), markers[:i]):
            continue
        elif (answer := _behind_hashes(text[marker.end() : marker.end() + _BOX_LENGTH])) is not None:
            answer = _with_rival(text, markers[: i + 1], answer)
            return _Found(marker.end(), answer, Certainty.VALUE)
    return None


def _with_rival(text: str, markers: list[re.Match], answer: str) -> str:
    """The answer of the last tag or `####`, behind the text of one before it that it is offered beside."""
    if len(markers) < 2 or markers[-2].lastgroup != markers[-1].lastgroup:
        return answer
    between = text[markers[-2].end() : markers[-1].start()]
    if len(between) > 4 * MAX_ANSWER or not hedged(between):
        return answer
    return " ".join(f"{_TAG_CLOSES.sub(' ', between)} {answer}".split())


def _heading_behind(text: str, at: int, before: list[re.Match]) -> bool:
    """Is the `####` that ends at `at` a heading behind a box or a tag, without a value at its start?"""
    if all(marker["hash"] for marker in before):
        return False
    return not starts_with_value(text[at : at + 80].lstrip(" \t*"))


def _behind_hashes(rest: str) -> str | None:
    """`#### 42` states an answer. `#### Step 2` is a heading, and so is any text with more behind it."""
    line, _, more = rest.partition("\n")
    line = line.strip().strip("*").strip()
    if not line or (_HEADING.match(line) and (more.strip() or not line[0].isdigit())):
        return None
    if _PROSE.match(line) or (
        not (starts_with_value(line) or starts_with_bound(line) or behind_denial(line)) and more.strip()
    ):
        return None
    stated = read_statement(line, by_sign=True)
    return stated[0] if stated else None


def _braced(text: str, at: int) -> tuple[str, int]:
    r"""Content and end of the group behind `\boxed` (of the one token behind it, for `\boxed 7`); end -1
    when it does not close."""
    start = at
    while start < len(text) and start - at < 9 and text[start] in " \t\n":
        start += 1
    # Without braces the box holds one token.
    if text[start : start + 1] != "{":
        token = re.compile(r"[^\s$,;{}]{1,99}").match(text, start)
        return (token[0].rstrip("."), token.end()) if token else ("", start)
    # Count the braces; an escaped one is text.
    depth, position, limit = 0, start, min(len(text), start + _BOX_LENGTH)
    while position < limit:
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : position], position + 1
        position += 1
    return "", -1


def _joined(text: str, markers: list[re.Match]) -> list[str]:
    """The answers in the last box and in those before it that "and", "or" or a comma ties to it.

    Two boxes with ", or" between them give one answer in two forms; the last one is taken."""
    answers: list[str] = []
    gaps: list[str] = []
    following = None
    for marker in reversed(markers):
        if not marker["box"]:
            break
        # From the last box backwards, as long as nothing but "and", "or" or a comma stands between.
        content, end = _braced(text, marker.end())
        if end < 0 or not content.strip():
            break
        gap = "" if following is None else text[end:following]
        line = text[max(0, marker.start() - 99) : marker.start()].rpartition("\n")[2]
        if following is not None and (end > following or not tied(gap, line)):
            break
        gaps.append(gap)
        answers.insert(0, inside(content))
        following = marker.start()
    # One answer in two forms is no list of two.
    if len(answers) == 2 and OTHER_FORM.search(gaps[1]):
        return answers[1:]
    return list(dict.fromkeys(answers))
