"""What a sentence states (for `answer.py`): its value, without the words around it.

read_statement("therefore 72, in total, so she can pay")  # ("72", Certainty.VALUE)
read_statement("The largest $n$ is 34.")  # ("34", Certainty.SENTENCE)
last_value("We find that $x < 3$.")  # "x < 3"
"""

import re
from enum import IntEnum

from nbkit.verify.answers.extract.bounds import (
    behind_denial,
    corrected,
    denied_at,
    instead,
    qualified_from,
    signed,
    starts_with_bound,
)
from nbkit.verify.answers.extract.clauses import first_clause, starts_with_value
from nbkit.verify.answers.extract.equations import TAIL, chain, formulas, has_words, without_formulas
from nbkit.verify.answers.extract.hedges import names_base, offers_another, takes_back
from nbkit.verify.answers.extract.last import is_name, last_in, qualified_at, several
from nbkit.verify.answers.extract.marks import (
    LABELLED_OPTION,
    chosen_option,
    first_labelled,
    list_items,
    option_above,
    option_letter,
    stated_option,
)
from nbkit.verify.answers.extract.markup import BOLD, tidy, undecorated
from nbkit.verify.answers.extract.numerals import MONEY, join_groups
from nbkit.verify.answers.parse.unit_table import table

_EXCLAIMED = re.compile(r"([A-Za-z0-9])!{1,9}(?=$|\s+[A-Z])")  # in a sentence no factorial either
_ADVERBS = re.compile(
    r"(?:(?:either|maybe|perhaps|probably|presumably|therefore|thus|hence|then|so|simply|just|indeed|obviously|clearly|definitely|certainly|surely"
    r"|actually|now|also|of course|for sure|in fact|precisely|exactly|simplified to|equal to|equivalent to"
    r"|given by|as follows|the following|found to be|the (?:number|value|integer|fraction"
    r"|expression)(?!\s(?:\w+ly\s|right\s|just\s)?(?:after|before|following|preceding|near|above|below"
    r"|of)\b)"
    r"|of the form|donc|bien|daher|somit|por lo tanto|entonces|quindi"
    r"|\((?:approximately|approx\.?|about|exactly|rounded|simplified)\)"
    r"|所以|因此|就是|为|是)(?![A-Za-z])[,:]?\s{0,9}){1,6}",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(  # how "the answer is …" goes on when it says something about the answer
    r"(?:correct|right|wrong|incorrect|verified|confirmed|obtained|found|shown|given|calculated|computed"
    r"|reached|derived|determined|as follows|in\b|clear|simplif|consistent|valid|reasonable|complete|above"
    r"|below|here|what|that|this|the same|based|expressed|rounded|supposed|expected|now|already|always"
    r"|indeed|easy|also|therefore|thus|checked|double|reported|written|boxed|to be|let'?s"
    r"|let us|we |i |it |an? )",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"(?:\\?[$€£¥]\s?)?(?:[A-Za-z](?:\([a-z]\))?\s?=\s?)?(?:[A-J]|\([A-J]\)"
    r"|[-+−±]?[$€£¥]?(?:[0-9.,/:√π^%]{1,60}|[(\[{][^A-Zа-я()]{1,60}[)\]}]|[^\s]{0,30}[0-9\\π√][^\s]{0,60}))"
    r"(?:\s{1,3}(?P<unit>[^\s]{1,30}))?"
)
_DIVISOR = re.compile(  # behind the value of a remainder: "is 3 when divided by 7."
    r"(?<=[0-9}$])\s(?:when|if|upon|on|after)\s(?:[^\s.;:]{1,30}\s){0,4}?(?:divided|division)\sby\s"
    r"\$?[^\s.]{1,30}[.]?$"
)
_PART = re.compile(r"\s(?:of|by|from|when|where|after|based)\b")
_EQUALS = re.compile(
    r"\b(?:is|are|was|were|equals?|be|becomes|of|to|est|ist|es|são|sind|sont)\s{1,3}(?=\S)"
    r"|(?:应该是|等于|是|为)\s?(?=\S)|(?<![<>!=:])=\s{0,3}(?=\S)"
)
_WITHOUT_VALUE = re.compile(r"(?:\b(?:is|are|equals|be)|[:=])[\s*]{0,9}$")
_CONNECTIVES = re.compile(r"\b(?:and|or|y|et|und|ou)\b|[,;.&\s]|和|或")


class Certainty(IntEnum):
    """How plainly a statement commits to its answer."""

    WORDS = 0  # words without a number or a formula
    SENTENCE = 1  # a value somewhere in a sentence
    VALUE = 2  # a value, at most with a unit


DENIED = ("", Certainty.WORDS)  # "… is not 5": an answer that says only what it is not


def read_statement(text: str, by_sign: bool = False) -> tuple[str, Certainty] | None:
    """The answer that the text behind a marker states, None when it states none ("... is verified").

    `by_sign`: the marker ended with a colon ("Answer: correct"), so that any word may be the answer.
    """
    if items := list_items(text):
        return _listed(items)
    if text.lstrip(" *_$").startswith("?"):
        return DENIED  # ?5
    # A denial, before and behind adverbs: the answer is what it names instead.
    denied = behind_denial(text)
    text = signed(join_groups(undecorated(text)))
    if adverbs := _ADVERBS.match(text):
        text = undecorated(text[adverbs.end() :]) or text
    denied = behind_denial(text) if denied is None else denied
    if denied is not None and starts_with_value(denied.lstrip("*` ")):
        return read_statement(rest, by_sign) if (rest := instead(denied)) else DENIED
    # A formula on its own lines, an option, or one line.
    if block := _display(text):
        return chain(block), Certainty.VALUE
    if option := stated_option(text.partition("\n")[0]):
        return option, Certainty.VALUE
    # "The answer is:" and a line break: the next line says it.
    line, _, more = text.partition("\n")
    if _WITHOUT_VALUE.search(line[-40:]) and more.strip():
        return read_statement(f"\n{more}", by_sign)
    line = line.strip("* ")
    if later := _corrected(line):
        return later, Certainty.VALUE
    if not by_sign:
        line = _EXCLAIMED.sub(r"\1.", line)
    # From here on the first clause decides: a bound, a value, a value in it, or words.
    clause = first_clause(line, cut=starts_with_value(line))
    if starts_with_bound(line) and re.search(r"[0-9\\]", clause):
        return tidy(clause), Certainty.WORDS
    if starts_with_value(line):
        behind = line[len(clause) :]
        if takes_back(behind):
            return DENIED
        if offers_another(behind) or names_base(behind) or clause.endswith((" or", " and")):
            return tidy(line), Certainty.SENTENCE
        plain = _is_plain(clause, line[len(clause) :])
        return tidy(chain(clause)), Certainty.VALUE if plain else Certainty.SENTENCE
    if value := value_in(clause):
        return value, Certainty.SENTENCE
    if not clause or (not by_sign and _NO_ANSWER.match(clause)):
        return None
    return tidy(clause), Certainty.WORDS


def _corrected(line: str) -> str:
    """ "6" of "5? No, it's 6.", "" where no plain value corrects another one at the end of the line."""
    later = tidy(corrected(line)).rstrip("!")
    later = later[:-1] if later.endswith(("]", ")")) and not re.search(r"[(\[]", later) else later
    return chain(later) if later and _is_plain(later, "") else ""


def _listed(items: list[str]) -> tuple[str, Certainty]:
    """One item, or the list of those at the beginning that are plain values."""
    found = [read_statement(item, by_sign=True) or ("", Certainty.WORDS) for item in items]
    values = [answer for answer, certainty in found if certainty == Certainty.VALUE]
    if len(values) < 2 or found[1][1] != Certainty.VALUE:
        return found[0]
    plain = next((n for n, (_, certainty) in enumerate(found) if certainty != Certainty.VALUE), len(found))
    return ", ".join(answer for answer, _ in found[:plain]), Certainty.VALUE


def _is_plain(clause: str, behind: str) -> bool:
    """A value with nothing or one known unit behind it: what may correct a box before it."""
    if _PART.match(behind):
        return False
    value = _PLAIN.fullmatch(tidy(clause))
    if value:
        return not value["unit"] or value["unit"].rstrip(".") in table()
    spans = formulas(clause)
    unit = without_formulas(clause).strip(" .*")
    if len(spans) != 1 or is_name(spans[0][2]) or re.match(r"[<>≤≥≠]|\\(?:[lg]e|[lg]t|ne|not)", spans[0][2]):
        return False
    return spans[0][0] == 0 and (not unit or unit in table())


def _display(text: str) -> str:
    """The formula on lines of its own with which a text begins, on one line."""
    if text.startswith((r"\[", "$$")):
        first = next(iter(formulas(text)), None)
        if first and first[0] == 0:
            return " ".join(first[2].split())
    if begins := re.match(r"\\begin\{([a-z]{1,20}\*?)\}", text):
        end = text.find(f"\\end{{{begins[1]}}}")
        if end > 0:
            return " ".join(text[: end + len(begins[0]) - 2].split())
    return ""


def value_in(sentence: str) -> str:
    """The value in a sentence that begins with words: behind its last "is" or "=", else its amount of money,
    else its last value."""
    # Only the last ones: an answer stands at the end, and the time stays bounded.
    spans = formulas(sentence)[-40:]
    for verb in reversed(list(_EQUALS.finditer(sentence))[-40:]):
        if any(start < verb.start() < end for start, end, _ in spans):
            continue
        rest = sentence[verb.end() :].lstrip("* ")
        if starts_with_value(rest) and re.search(r"[0-9\\$]", rest):
            if denied_at(sentence, len(sentence) - len(rest)):
                return ""
            value = first_clause(rest, cut=True)
            if offers_another(rest[len(value) :]) or names_base(rest[len(value) :]):
                return tidy(rest)
            qualified = qualified_from(sentence, verb.end())
            before = sentence[qualified : verb.end()] if qualified >= 0 else ""
            return tidy(f"{before}{value}" if before else chain(value))
    # No verb gave a value: a sum of money is the likeliest answer of what is left.
    plain = without_formulas(sentence)
    amounts = list(MONEY.finditer(plain))
    if len(amounts) == 1 and qualified_from(plain, amounts[0].start()) < 0:
        return (amounts[0][1] or amounts[0][2]).rstrip(".,")
    return last_in(sentence)


def last_value(text: str) -> str:
    """The answer of a text without a marker: its last line where that is a formula, else the last formula or
    number in it, else the letter of an option, else the last line."""
    # Only the end is looked at: an answer stands there, and long texts stay cheap.
    text = _DIVISOR.sub("", signed(join_groups(text[-TAIL:])).rstrip())
    last_line = text.rpartition("\n")[2].strip()
    line = BOLD.sub(r"\1", last_line)
    if (above := option_above(text)) and option_letter(line) in ("", above):
        return above
    # A formula over several lines, or a line of formulas.
    spans = formulas(text)
    if spans and not text[spans[-1][1] :].strip(" .。*") and "\n" in text[spans[-1][0] : spans[-1][1]]:
        return chain(" ".join(spans[-1][2].split()))
    if whole := _corrected(line) or _formula_line(line):
        return whole
    # Letters of options.
    if (chosen := chosen_option(line)) and (option := stated_option(chosen)):
        return option
    if not re.search(r"[0-9]", line) and (letter := option_letter(line)):
        return letter
    if text.strip() == last_line and (labelled := first_labelled(line)):
        return labelled
    if text.strip() == last_line and LABELLED_OPTION.match(line) and len(line.split()) <= 6:
        return line  # "(C) 12 km"
    if values := several(last_line):
        return values
    # What is set in bold, else the last value at all.
    for bold in reversed(list(BOLD.finditer(last_line))):
        if starts_with_value(bold[1]) and re.search(r"[0-9]", bold[1]):
            changed = qualified_at(last_line, bold.start(), bold.end()) >= 0
            return tidy(last_in(last_line if changed else bold[1]))
    return last_in(text) or line


def _formula_line(line: str) -> str:
    """The answer on a line that holds formulas only, "" for any other line."""
    spans = formulas(line)
    if spans and not _CONNECTIVES.sub("", without_formulas(line)):
        return line if len(spans) > 1 else chain(spans[0][2])
    return "" if not line or has_words(line) else chain(line.strip("$ "))
