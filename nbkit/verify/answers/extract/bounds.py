r"""Words that turn a value into something else than an answer: bounds, operations, denials, a choice of two.

behind_denial("isn't 12"[2:])  # "12": what the sentence says the answer is not
qualified_from("so it is at least 5", 18)  # 9: where "at least" begins, -1 for none
signed("it is minus 5")  # "it is -5"
corrected("5? No, it's 6.")  # "6."
"""

import re

from nbkit.verify.answers.extract.numerals import NUMBER_WORDS
from nbkit.verify.answers.extract.words import foreign

_BOUND = (
    r"(?:(?:strictly|definitely)\s{1,3})?(?:at\s{1,3}(?:least|most)|up\s{1,3}to"
    r"|(?:no\s{1,3}|not\s{1,3})?(?:more|less|fewer|greater|larger|bigger|smaller|higher|lower)\s{1,3}than"
    r"(?:\s{1,3}or\s{1,3}equal\s{1,3}to)?"
    r"|(?:greater|less|larger|smaller|more)\s{1,3}or\s{1,3}equal(?:\s{1,3}(?:to|than))?"
    rf"|{foreign.BOUND}"
    r"|under|over|above|below|beyond|exceeds|between\s{1,3}[^.;!?\n]{1,40}?\s{1,3}and)"
)
# Words that make another value of the one behind them; boxes (`boxes.py`) and sentences read the same ones.
OPERATIONS = (
    r"(?:half|twice|thrice|double[ds]?|triple[ds]?|quadruple[ds]?|thirds?|quarters?|fourths?|fifths?|tenths?"
    r"|hundredths?|percent|per\scent|dozens?|times|mod(?:ulo)?"
    r"|added\sto|subtracted\sfrom|(?:number|value|something|somewhere|anywhere|anything)\snear"
    r"|(?:sqrt|log|ln)(?=[\s(])|out\sof|divisible\sby|(?:close|next)\sto|not\squite|(?:nothing|not)\slike"
    r"|(?:prime|number|integer|digit|one|value|term|square|cube|even|odd)\s(?:that\s\w{4,8}\s)?(?:\w{2,12}ly\s|right\s|just\s)?"
    r"(?:after|before|following|preceding|above|below)"
    r"|(?:roots?|squares?|cubes?|powers?|reciprocals?|inverse|log(?:arithm)?s?|ln|factorials?|multiples?"
    r"|(?<!by\sa\s)(?<!scale\s)factors?|divisors?|sine|cosine|tangent|negative|opposite|complement"
    r"|halves|negation|predecessor|successor|digits?|(?:absolute\s)value)\sof"
    r"|unlike|except(?:ing)?|excluding|besides|(?:other|different|apart|aside|far|away)\s(?:than|from)"
    r"|(?:any|every|all|no)(?:thing|one|body|where)?(?:\s\w{1,20}){0,2}\sbut)"
)
_STARTS = re.compile(rf"{_BOUND}\b|{foreign.CJK_BOUND}", re.IGNORECASE)
_OPENS = r"[\s$({*\\]{1,6}(?:text\{)?"
_BEFORE = re.compile(
    rf"(?:(?<!\w)(?:{_BOUND})|{foreign.CJK_BOUND}[\s$]?){_OPENS}$|{foreign.CJK_BOUND}$", re.IGNORECASE
)
_AMOUNT = r"(?:[0-9][0-9.,/]{0,20}%?|[0-9.]{0,9}\\frac\{?\w{1,9}\}?\{?\w{1,9}\}?|\$[^$\n]{1,40}\$)"
_OPERATION_BEFORE = re.compile(
    rf"(?<![\w.,$\\])(?:(?:(?:{_AMOUNT}|one|two|three|four|five|six|seven|eight|nine|ten|an?|any|every|the)\s{{0,3}})?"
    rf"(?:(?:square|cube|fourth|[a-z0-9]{{1,3}}th|natural|positive|multiplicative|additive)\s)?{OPERATIONS}"
    rf"(?:\s(?:of|by|to|for|the|a|number)){{0,2}}"
    r"|(?:fraction|part|piece|most|some|none|any|portion|percentage|share|proportion|sum|difference|product|quotient|average|mean)\sof"
    rf"|(?:adding|subtracting|multiplying|dividing|raising)\s{_AMOUNT}\s(?:to|from|by)"
    r"|(?:[0-9][0-9.,]{0,20}(?:%|/[0-9]{1,9})|\$?\\frac\{?\w{1,9}\}?\{?\w{1,9}\}?\$?)\sof"
    rf"|{_AMOUNT}\s(?:plus|minus|(?:multiplied\s|divided\s)?by)"
    r"|almost|nearly|virtually|(?:just\s)?(?:short|shy)\sof|just\s(?:under|over|below|above)"
    # "zero point 5", "one in 5", "two and 5 tenths"
    rf"|{NUMBER_WORDS}(?:[\s-](?:point|and|in|out\sof|over|hundred|thousand|million)){{0,2}}){_OPENS}$",
    re.IGNORECASE,
)
_SIGNED = re.compile(
    r"((?:^|[:=(,;]|\b(?:is|are|was|be|equals?|to|of|get|gives?|exactly|so|thus|and|or|answer|an?|the))\s{0,3})"
    r"\b(?:minus|negative)\s{1,3}(\$|\*\*|\\\()?(?=\.?[0-9]|\\(?:d?frac|sqrt|pi)(?![a-z]))",
    re.IGNORECASE | re.MULTILINE,
)
_CORRECTION = re.compile(
    r"[?.!,;…—–(\[-]\s{0,3}(?:(?:oh|hm{1,3}|well|uh|ah|but|or)[,.]?\s{1,3})?"
    r"(?:(?:no|nope|wait|sorry|actually|correction|oops|rather|edit|make\s(?:it|that)|(?:scratch|strike) that"
    r"|I (?:retract|take) (?:that|it)(?: back)?|I mean|I was wrong"
    r"|that(?:['’]?s| is) (?:wrong|not right|incorrect))\b[,:.;!…—–-]{0,3}\s{1,3}){1,4}"
    r"(?:(?:so\s)?(?:it['’]?s|it (?:is|should be|must be)|the answer (?:is|should be)|make (?:it|that))"
    r"\s{1,3})?",
    re.IGNORECASE,
)
_NOT = (  # what denies the value behind it
    r"(?:(?:\bnot|n['’]t|\bcannot|\bnever|\bneither|\bno\slonger|\b(?:hardly|scarcely|barely|rarely|seldom|without)|\bnowhere\s(?:near|close\sto)"
    r"|\bby\sno\smeans|\bin\sno\sway|\bdiffer(?:s|ent)?\sfrom)\s{1,3}"
    r"(?:(?:be|equals?|going\sto|to|even|at\sall|likely|exactly|quite|really|simply|just|actually|possibly|necessarily)\s{1,3}){0,3}"
    r"|\b(?:no\sway|unlikely|improbable|impossible|doubt(?:ful|s)?)\s{1,3}"
    r"(?:(?:be|equals?|to|that|it|is|even|ever|for|would|will|can|could|the|answer)\s{1,3}){0,6})"
)
_FOREIGN_NOT = rf"(?:(?<!\w){foreign.NOT}\s{{1,3}}|{foreign.CJK_NOT}\s{{0,3}})"
_DENIED_BEFORE = re.compile(rf"(?:{_NOT}|{_FOREIGN_NOT}|\bno\s{{1,3}})[$({{*\\]{{0,3}}$", re.IGNORECASE)
_CHOICE_BEFORE = re.compile(
    r"(?:\beither\s{1,3}[^.;!?\n]{1,40}?|(?<![\w.,/])-?[0-9][0-9.,/]{0,30}|\$[^$\n]{1,40}\$)"
    r"\s{1,3}or\s{1,3}(?:(?:maybe|perhaps|possibly|else)\s{1,3})?[$({*\\]{0,3}$",
    re.IGNORECASE,
)
_RANGE_BEFORE = re.compile(  # "from 5 to 6", "about 5 to 6", but "it grows from 5 to 6"
    rf"(?:\b(?:about|around|roughly|approximately|some|somewhere|anywhere|something|ranges?|ranging|between|within|lies|in|is|are|be|of|:)\s"
    rf"(?:from\s|in\s|like\s)?|^(?:\w{{1,12}}\s)?from\s|^){_AMOUNT}"
    r"(?:\s{1,3}(?:up\sto|to|through|until|till|thru)\s{1,3}|\s?(?:[-–—~|&]|\.{2,3}|…)\s?|\s[(\[]|\s{1,3}(?:and\/or|vs\.?|versus)\s{1,3})[$({*\\]{0,3}$",
    re.IGNORECASE,
)
_RELATION_BEFORE = re.compile(  # "so x <= 4" states the whole relation
    r"(?<!\w)[A-Za-z]\w{0,3}\s?(?:[<>!]=|=/=|/=|<>|[<>≤≥≠∉]|\\(?:[lg]eq?|neq?|not\s?(?:=|\\in)|notin|equiv))\s?$"
)
_DENIAL = re.compile(
    rf"\s{{0,3}}(?:(?:n?['’]t\s{{1,3}}(?:(?:be|going\sto\sbe|equal(?: to)?|simply|just|actually"
    rf"|possibly)\s{{1,3}}){{0,2}}|{_NOT}|{_FOREIGN_NOT})|no\s{{1,3}}(?=\$?[-−]?[0-9\\]))",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"[^.;!?\n]{0,60}?(?:\bbut(?: rather)?|[,;] (?:it is|it's|it’s))\s{1,3}", re.IGNORECASE)
_NEAR = 80  # characters before a value in which such words are looked for


def starts_with_bound(text: str) -> bool:
    """Does a text begin with "at least", "more than", "between 3 and" …?"""
    return bool(_STARTS.match(text))


def behind_denial(text: str) -> str | None:
    """What follows "not", "n't be" … at the start of a text; None where it begins otherwise."""
    found = _DENIAL.match(text)
    return text[found.end() :] if found else None


def instead(text: str) -> str:
    """ "5 but 7" (behind a "not"): the text that says what holds instead, "" for none."""
    found = _INSTEAD.match(text)
    return text[found.end() :] if found else ""


def qualified_from(text: str, at: int) -> int:
    """Where the words begin that make the value at `at` a bound, another value or one of two, -1 for none."""
    start = max(0, at - _NEAR)
    near = text[start:at].rpartition("\n")[2]
    patterns = (_BEFORE, _OPERATION_BEFORE, _CHOICE_BEFORE, _RANGE_BEFORE, _RELATION_BEFORE)
    found = next(filter(None, (pattern.search(near) for pattern in patterns)), None)
    return at - len(near) + found.start() if found else -1


def denied_at(text: str, at: int) -> bool:
    """Is the value at `at` one that the text says it is not?"""
    return bool(_DENIED_BEFORE.search(text[max(0, at - _NEAR) : at]))


def signed(text: str) -> str:
    """With the words "minus" and "negative" before a number that follows no other one as its sign."""
    return _SIGNED.sub(r"\1\2-", text)


def corrected(line: str) -> str:
    """What follows the last "No, it's …" or "wait, actually …" of a line, "" for none."""
    ends = [found.end() for found in _CORRECTION.finditer(line)]
    return line[ends[-1] :] if ends else ""
