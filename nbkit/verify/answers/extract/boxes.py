r"""The answer in a box or a tag, without the words around it (for `answer.py`).

inside(r"\text{The value of } x \text{ is } 9")  # "9"
inside(r"12 \text{ students are left}")  # "12 students"
inside(r"5 \text{ or more}")  # r"5 \text{ or more}": words that change the value stay
"""

import re

from nbkit.verify.answers.extract.bounds import OPERATIONS, qualified_from, signed
from nbkit.verify.answers.extract.clauses import first_clause, starts_with_value
from nbkit.verify.answers.extract.equations import chain, formulas
from nbkit.verify.answers.extract.hedges import REJECTED, names_base, offers_another, takes_back
from nbkit.verify.answers.extract.markup import tidy
from nbkit.verify.answers.extract.statements import value_in
from nbkit.verify.answers.parse.unit_table import table
from nbkit.verify.answers.parse.units import NO_LABEL

_LABEL = re.compile(
    r"(?:(?:so|thus|therefore|hence),?\s{1,3})?(?:the\s{1,3})?(?:correct\s{1,3}|final\s{1,3})?"
    r"(?:ans(?:wer)?|result|solution|value|total)\s{0,3}(?:is\b\s{0,3}:?|:|=)\s{0,9}",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"\\(?:text\w{0,6}|math(?:rm|bf|it)|mbox)\s{0,3}\{")
_LEADING_WORDS = re.compile(
    r"\\text\w{0,6}\s?\{\s{0,3}"
    r"(?:(?:so|thus|therefore|hence|then|we (?:get|have)|there (?:are|is))\b[\s,]{0,3}"
    r"|[^{}]{0,80}(?:\bis|\bare|\bequals|:)\s{0,3})\}\s{0,3}(?![^:]*:)",
    re.IGNORECASE,
)
_TRAILING_WORDS = re.compile(
    r"\s{0,3}\\text\w{0,6}\s?\{\s{0,3}(?:is|are)\b(?![^{}]{0,80}\b(?:not|too|"
    + REJECTED
    + r")\b)[^{}]{0,80}\}$"
)
# Words in a formula, with the power of a unit behind them.
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox)\s?\{([^{}]{0,200})\}(\s?\^\s?\{?-?[0-9]\}?)?")
_OPERATOR = re.compile(r"\\text\w{0,6}\s?\{\s?[A-Za-z]{1,12}\}[_(\[]")  # \text{Var}(X) is no sentence
_VALUE_FIRST = re.compile(r"(\$(?:[^$\\]|\\.){1,300}\$|[-+−]?(?:\\?[$€£])?[0-9][0-9.,/]{0,60}%?)(?=[\s;]|$)")
_LABEL_WORDS = re.compile(r"(?:\s[a-zA-Z]{2,20}(?:\^\{?[0-9]\}?)?){0,3}")
_MORE = re.compile(r"\s(?:left(?:\sover)?|more|remain\w{0,4}|out\sof|each|every)\b", re.IGNORECASE)
# A remark that begins so explains the value, whatever words it holds, unless it says that it is wrong.
_EXPLAINS = re.compile(
    r"[\s,;(]{0,4}(?:which|because|since|as|that\sis|i\.e\.|where(?:as)?|while|(?:al)?though)\b"
)
_WRONG = re.compile(rf"\b(?:{REJECTED}|undefined|not|or|else|otherwise)\b|n['’]t\b", re.IGNORECASE)
_VERBS = re.compile(
    r"\b(?:is|are|was|were|be|equals?|has|have|had|gets?|got|needs?|takes?|took|costs?|gives?|receives?|earns?|makes?|made"
    r"|pays?|paid|saves?|spends?|spent|sells?|sold|buys?|bought|uses?|used|wins?|won|contains?|holds?|there\s(?:is|are)"
    r"|eats?|ate|travels?|remains?|left|becomes?)\s(?=\$|[-−]?[0-9])",
    re.IGNORECASE,
)
# Words that change what a number says, or deny it.
_TURNS = re.compile(
    r"(?<![\w\\])(?:or|not|no|n['’]t|never|cannot|least|most|more(?=\sthan)|less|fewer|greater|than|(?<!left\s)over|under|above|below|up\sto|between"
    r"|about|approximately|almost|nearly|around|if|unless|except|where|for\sall|undefined"
    rf"|{REJECTED}"
    rf"|either|neither|nor|maybe|perhaps|plus|minus|exceeds?|{OPERATIONS})\b|n['’]t\b",
    re.IGNORECASE,
)
_NO_TURN = re.compile(
    r"\bwhen\sdivided\sby\b|(?<=[a-z]\s)out\sof\b"
)  # 3 when divided by 7, 12 girls out of 30
_NAMED = re.compile(  # "Number of ways = ", "Value of $x$: "
    r"[A-Za-z][A-Za-z ]{1,80}(?:\$[A-Za-z]\$[A-Za-z ]{1,40})?[=:]\s{0,3}(?=\$|[-−]?[0-9])"
)
# With a unit a time ("after 36 seconds"), without one another number.
_WITHOUT_UNIT = re.compile(r"\b(?:every|each|per|after|before|until|till|past)\s?$", re.IGNORECASE)
_LETTER_IS = re.compile(r"\$([A-Za-z])\$\s(?:equals|is(?:\sequal\sto)?)\s{0,3}=?\s?(\S.{0,200})")
_YES_NO = re.compile(
    r"(yes|no|true|false)\b[,.;:]?\s{1,3}(?:(?:because|since|as)\b"
    r"|(?:it|they|that|this|there)\s(?:is|are|does|do|can|will|has)(?:n['’]t|\snot)?[.\s]{0,3}$)",
    re.IGNORECASE,
)
_ANSWERED = re.compile(r"(?:yes|no|true|false)\b(?:\s?[,.;:]\s{0,3})?", re.IGNORECASE)


def inside(content: str) -> str:
    r"""The answer in a box or a tag: labels and sentences go (`\text{The answer is 460}` → 460)."""
    content = content.strip()
    # A box in a box: the inner one.
    if boxes := list(re.finditer(r"\\(?:boxed|fbox)\s{0,3}\{", content)):
        end = content.rfind("}")
        return inside(content[boxes[-1].end() : max(end, boxes[-1].end())])
    content = signed(content)
    if (sentence := signed(_sentence(content))) and (value := _in_words(sentence)):
        return value
    # Words around the value, and a label before it, go.
    content = _TRAILING_WORDS.sub("", content)
    if (lead := _LEADING_WORDS.match(content)) and starts_with_value(content[lead.end() :]):
        content = content[lead.end() :]
    wrapper = _WRAPPED.match(content)
    body = content[wrapper.end() :] if wrapper else content
    if label := _LABEL.match(body):
        body = body[label.end() :]
        if wrapper:
            body = body.replace("}", " ", 1)
        return tidy(chain(body)) or content
    # Words in \text{}, or bare: the value among them, if there is one.
    if wrapper and body.endswith("}") and "}" not in body[:-1] and len(body.split()) > 2:
        return (not starts_with_value(body) and value_in(body[:-1])) or content
    if not wrapper and "\\" not in content and len(content.split()) > 2 and not starts_with_value(content):
        return value_in(" ".join(content.split())) or tidy(content)
    return chain(tidy(content))


def without_words(answer: str) -> str:
    r"""As `inside`, for a formula in running text: `$\text{Area } = 12$`."""
    bare = answer.strip("$ ")
    if "\\text" not in answer or "$" in bare:
        return answer
    sentence = _sentence(bare)
    return (sentence and _in_words(sentence)) or answer


def _sentence(content: str) -> str:
    r"""Text groups as plain words, formulas between dollar signs; "" where no words are, or more."""
    if (
        len(content) > 1000
        or "\\begin" in content
        or "&" in content
        or not _TEXT.search(content)
        or _OPERATOR.match(content)
    ):
        return ""
    parts, at = [], 0
    for words in _TEXT.finditer(content):
        parts += [_formula(content[at : words.start()]), words[1] + (words[2] or "").strip()]
        at = words.end()
    parts.append(_formula(content[at:]))
    sentence = " ".join(" ".join(part for part in parts if part.strip()).split())
    return sentence if re.search(r"[A-Za-z]{2}", without_dollars(sentence)) else ""


def _formula(piece: str) -> str:
    r"""`= 12` keeps its sign outside, and so does what is only punctuation."""
    piece = re.sub(r"\\(?:quad|qquad|[,;:! ])(?![a-zA-Z])|~", " ", piece).strip()
    sign = re.match(r"[=:,.;]\s{0,3}", piece)
    head, body = (sign[0], piece[sign.end() :]) if sign else ("", piece)
    tail = re.search(r"\s{0,3}[=:,.;]$", body)
    body, behind = (body[: tail.start()], tail[0]) if tail else (body, "")
    return head + (f"${body}$" if body else "") + behind


def without_dollars(sentence: str) -> str:
    return re.sub(r"\$(?:[^$\\]|\\.){1,300}\$", " ", sentence)


def _in_words(sentence: str) -> str:
    """The value in the words of a box; "" where they only name it, or change the value."""
    # Forms that say at once where the value is.
    if answer := _YES_NO.match(sentence):
        return answer[1]
    if (yes := _ANSWERED.match(sentence)) and starts_with_value(sentence[yes.end() :]):
        return _in_words(sentence[yes.end() :]) or _plain(sentence[yes.end() :])  # "Yes, 5"
    letter = first_clause(sentence, cut=True)
    if re.fullmatch(r"\(?[A-HJ]\)?", letter) and letter != sentence:  # "C, because it is largest"
        return "" if offers_another(sentence[len(letter) :]) else letter
    if named := re.fullmatch(
        r"\$([A-Za-z])\$\s(?:equals|is(?:\sequal\sto)?)\s{0,3}=?\s?(\S.{0,200})", sentence
    ):
        value = _in_words(named[2]) or _plain(named[2])
        return f"{named[1]} = {value}" if re.search(r"[0-9\\]", value) else ""
    if _VALUE_FIRST.fullmatch(sentence):  # of "minus 15"
        return _plain(sentence)
    if label := _LABEL.match(sentence):
        rest = sentence[label.end() :]
        return _in_words(rest) or _plain(_cut(rest) or rest)
    if _VALUE_FIRST.match(sentence):
        return _plain(_cut(sentence))
    if _TURNS.search(without_dollars(sentence)) or not re.match(r"[A-Za-z]{2,}\b", sentence):
        return ""
    # A named quantity: what stands behind its name.
    if named := _NAMED.match(sentence):
        words = len(sentence[: named.end()].split()) > 2 or ":" in named[0] or "$" in named[0]
        cut = _cut(sentence[named.end() :])
        return _plain(cut or sentence[named.end() :]) if words or cut else ""
    # Behind the last verb; several verbs tell of several things.
    values = [verb.end() for verb in _VERBS.finditer(sentence)]
    if re.search(r"\band\b|[,;]", sentence[values[0] : values[-1]]) if values else _ANSWERED.match(sentence):
        return ""  # of two things, or more than a yes
    if values:
        rest = sentence[values[-1] :]
        return _plain(_cut(rest) or rest)
    # Else the one formula that holds a number, with its unit.
    numbers = [found for found in formulas(sentence) if re.search(r"[0-9\\]", found[2])]
    if len(numbers) != 1 or re.search("[0-9]", without_dollars(sentence)):
        return ""
    ((start, end, value),) = numbers
    if qualified_from(sentence, start) >= 0:
        return ""
    unit = re.match(r"\s(([A-Za-zμΩ]{1,12}?)s?(?:\^\{?[0-9]\}?)?)(?=[\s.,;]|$)", sentence[end:])
    if unit and unit[2] in table():
        return f"{value} {unit[1]}"
    return "" if _WITHOUT_UNIT.search(sentence[:start]) else value


def _cut(text: str) -> str:
    """Without a remark behind a value and its label: "12 students are left" → 12 students; else ""."""
    value = _VALUE_FIRST.match(text)
    if not value or not re.search(r"[0-9\\]", value[1]):
        return ""
    # What is kept: the value and a label, up to a clause or one of the words that say what is left of it.
    more = _MORE.search(text)
    kept = min(first_clause(text, cut=True), text[: more.start()] if more else text, key=len)
    label, remark = kept[value.end(1) :].rstrip(",;"), text[len(kept) :]
    if not remark.strip(" .") or not _LABEL_WORDS.fullmatch(label):
        return ""
    # What goes must not change the value.
    if offers_another(remark) or takes_back(remark) or names_base(remark):
        return ""
    if re.match(r"\s{0,3}of\s{1,3}\$?[-−]?[0-9\\]", remark):
        return ""  # 5 of 6
    remark = _NO_TURN.sub(" ", f"{label}{remark}")[len(label) :]
    changed = _WRONG if _EXPLAINS.match(remark) else _TURNS
    words = set(re.findall("[a-z]+", label.casefold()))
    return "" if words & NO_LABEL or changed.search(without_dollars(remark)) else value[1] + label


def _plain(text: str) -> str:
    text = text.strip()
    found = formulas(text)
    if found and found[0][0] == 0:
        return tidy(f"{chain(found[0][2])} {text[found[0][1] :].strip()}".strip())
    return tidy(chain(text))
