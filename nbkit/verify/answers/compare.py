"""Decide whether an answer equals the reference (notebooks 04, 06 and 07).

Cheap and exact paths first, in this process: cleaned text (`clean.py`), exact numbers with percent signs
and units (`units.py`), letters of multiple choice, structures part by part (`structures.py`). What is left
are formulas. Only what the grammar of `formula/` covers goes on, as plain tokens, into the jail. There
sympy and Math-Verify's parser evaluate each side in a job of its own (`values.py`): a tower such as 9^9^9 can
eat a machine, and the reference never meets the prediction. What none of this can read, a model with a Python
tool may judge (`agent.py`). Nothing is parsed by `eval` or sympy in this process.

    answer = extract_answer(completion)  # "\\frac{1}{2}" from "… so \\boxed{\\frac{1}{2}}."
    verdict(answer, "0.5")  # "pass"
    verdict("2\\\\sqrt{3}", "\\\\sqrt{12}", jail)  # "pass"; without a jail "fail"
"""

import re
import zlib
from collections.abc import Callable
from typing import Literal

from nbkit.verify.agent import judge
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.answers.parse.clean import acceptable, balanced, clean
from nbkit.verify.answers.parse.forms import same_integer
from nbkit.verify.answers.parse.kinds.nodes import Leaf, Node
from nbkit.verify.answers.parse.leaves import same_clock
from nbkit.verify.answers.parse.reading import read
from nbkit.verify.answers.parse.structures import compare
from nbkit.verify.answers.question import Question, keys_of, plain_text
from nbkit.verify.answers.values import Hopeless, Key, Values, evaluate
from nbkit.verify.errors import GraderError
from nbkit.verify.jail.jail import Jail

__all__ = ["Status", "equivalent", "extract_answer", "verdict"]

Status = Literal["pass", "fail", "infra"]

_ROUNDS = 3  # of asking for more digits
_TEXT_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
_DECIMAL_COMMA = re.compile(r"(-?[0-9]+),([0-9]+)( ?[^0-9,]*)")
_OPTION = re.compile(
    r"(?:(?:the )?(?:correct )?(?:option|choice|answer)(?: is)?:? |选项?|答案(?:是|为|选)?)?[: ]*"
    r"(?:\(([A-Ja-j])\)|\[([A-J])\]|([A-Ja-j])(?=$|[.):]))[.):]?(?: (?!(?:and|or|nor)\b)(.*))?",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"\(?[A-H]\)?(?:(?:,| |and|&)*\(?[A-H]\)?)+")

_ORDERED = re.compile("[A-H]{3,8}")  # ABCD is not DCBA, while AC and CA choose the same options
# What has no value and means only itself, so that another one differs: f(y, x), q \\implies p, \\aleph _1.
_SYMBOLIC = re.compile(
    r"[a-zA-Z]'{0,3} ?\([a-z](?: ?, ?[a-z]){1,5}\)"
    r"|(?:[A-Za-z0-9 (){}_]{0,60}(?:→|\\(?:implies|impliedby|iff|(?:[Ll]ong)?(?:[Ll]eft)?(?:[Rr]ight)?"
    r"arrow|(?:sub|sup)set(?:n?eq)?|parallel|perp|mapsto|aleph|d{1,3}ot|forall|exists|neg|lnot)"
    r"(?![a-zA-Z]))){1,6}[A-Za-z0-9 (){}_]{0,60}"
)
_PAIR = re.compile(r"\([A-H](?: ?, ?[A-H])+\)")


def verdict(
    prediction: str, gold: str, jail: Jail | None = None, model: Callable[[list[dict]], str] | None = None
) -> Status:
    """Does an extracted answer equal the reference? "pass", "fail", or "infra": cannot say, do not count it.

    Infra means a malformed reference (empty, unbalanced braces, no value, unreadable symbols) or a jail that
    failed. Equality is exact: a rounded decimal is not the irrational number. A unit may be missing on either
    side, but two different ones must convert. Without a jail, what needs one is "fail". `model` maps chat
    messages to a reply; it is asked only where a side cannot be read (`agent.judge`).
    """
    # The reference first: where it cannot be read, no prediction is at fault.
    if not acceptable(gold) or not balanced(gold) or not (wanted := clean(gold)):
        return "infra"
    if not acceptable(prediction) or not (ours := clean(prediction)):
        return "fail"
    try:
        status, why = _compare(ours, wanted, jail)
    except _TEXT_FAULTS:  # no text may raise in a trainer
        return "fail" if _reads(wanted) else "infra"
    # A model is the last resort, and only for what no rule could read.
    if why == "unread" and model is not None and jail is not None:
        return judge(prediction, gold, model, jail).status
    return status


def _compare(ours: str, wanted: str, jail: Jail | None) -> tuple[Status, str]:
    """As `_decide`; equal texts and letters of multiple choice first."""
    # The same text is the same answer, whatever it means.
    if plain_text(ours) == plain_text(wanted):
        return "pass", ""
    if ("∠" in ours) != ("∠" in wanted):  # the sign may be missing on one side
        ours, wanted = (text.replace("∠", " ").strip() for text in (ours, wanted))
        return _compare(ours, wanted, jail)
    # Multiple choice: a letter decides where the reference has one, else the text beside it.
    option, gold_option = _option(ours), _option(wanted)
    if all(_ORDERED.fullmatch(text) for text in (ours, wanted)):
        return "fail", ""  # an order of letters, or a figure, and another one
    if gold_option and (option or not gold_option[1]):
        if option and len(gold_option[0]) == 1 or option and option[0] == gold_option[0]:
            return ("pass" if option[0] == gold_option[0] else "fail"), ""
    elif gold_option:
        wanted = gold_option[1]
    elif option and option[1] and not ours[0].islower():
        ours = option[1]  # a label and its text, where the reference is the text
    if gold_option and not gold_option[1] and len(gold_option[0]) == 1 < len(wanted):
        wanted = gold_option[0]  # without its bracket, which means nothing to what follows
    return _decide(*_with_points(ours, wanted), jail)


def _reads(wanted: str) -> bool:
    try:
        plain_text(wanted)
        return bool(read(wanted))
    except _TEXT_FAULTS:
        return False


def _with_points(ours: str, wanted: str) -> tuple[str, str]:
    """Decimal commas as points: ours (2,74, not 1,234) beside a reference with a point, and the reference's
    where it can be no list (0,111)."""
    mine, theirs = (_DECIMAL_COMMA.fullmatch(text) for text in (ours, wanted))
    point = re.compile(r"-?[0-9]*\.[0-9]")
    if mine and point.match(wanted) and (len(mine[2]) != 3 or mine[1].lstrip("-") == "0"):
        ours = f"{mine[1]}.{mine[2]}{mine[3]}"
    elif (
        theirs
        and point.match(ours)
        and theirs[1].lstrip("-") == "0"
        and (len(theirs[2]) > 2 or theirs[2][0] == "0")
    ):
        wanted = f"{theirs[1]}.{theirs[2]}{theirs[3]}"
    return ours, wanted


def _decide(ours: str, wanted: str, jail: Jail | None) -> tuple[Status, str]:
    """(status, "" or "unread": a side could not be read, so the status is only a default)."""
    # First without the jail: most pairs are settled by exact numbers and structure.
    sides, question = (read(same_clock(same_integer(ours, wanted), wanted)), read(wanted)), Question()
    result = compare(*sides, question.same)
    if result is None and jail is not None:
        seed = zlib.crc32(f"{ours}\n{wanted}".encode())  # points that no answer can be made to fit
        try:
            # The reference first: without it no prediction is at fault.
            found = _look_up([gold for _, gold in question.open], jail, "infra", seed)
            found |= _look_up([ours for ours, gold in question.open if _readable(gold)], jail, "fail", seed)
            # Values that agree so far may differ further on: more digits are asked for, a few times.
            for _ in range(_ROUNDS):
                question = Question(found)
                result = compare(*sides, question.same)
                if not question.short:
                    break
                found = found | _more_digits(question, jail, seed)
        except _Settled as settled:
            return settled.status, ""
    if result is not None:
        return ("pass" if result else "fail"), ""
    unread = any(not keys_of(side) for pair in question.open for side in pair)
    # Values of both sides, but too few or too coarse to tell.
    untold = any(question.untold(*pair) for pair in question.open)
    malformed = any(_malformed(gold, question.found, jail) for _, gold in question.open)
    return ("infra" if malformed or untold else "fail"), "unread" if unread else ""


class _Settled(Exception):
    def __init__(self, status: Status) -> None:
        self.status = status


def _look_up(nodes: list, jail: Jail, fault: Status, seed: int, digits: int = 0) -> dict[Key, Values]:
    keys = [key for node in nodes for key in keys_of(node) if not _is_known(node, key)]
    try:
        return evaluate(keys, jail, seed, digits) if keys else {}
    except Hopeless as reason:
        raise _Settled("infra" if str(reason) == "infra" else fault) from None


def _more_digits(question: Question, jail: Jail, seed: int) -> dict[Key, Values]:
    """Of both sides, where they look equal at too few digits."""
    found = {}
    for digits, pairs in question.short.items():
        found |= _look_up([gold for _, gold in pairs], jail, "infra", seed, digits)
        found |= _look_up([ours for ours, _ in pairs], jail, "fail", seed, digits)
    return found


def _readable(node: Leaf | Node) -> bool:
    return bool(keys_of(node)) or getattr(node, "value", None) is not None


def _is_known(node: Leaf | Node, key: Key) -> bool:
    return getattr(node, "value", None) is not None and key == ("formula", node.tokens)


def _malformed(gold: Leaf | Node, found: dict, jail: Jail | None) -> bool:
    """A reference that is neither a phrase nor anything with a value."""
    if isinstance(gold, Leaf) and (gold.is_words or gold.value is not None or _SYMBOLIC.fullmatch(gold.text)):
        return False
    if isinstance(gold, Node) and (gold.kind not in ("named", "relation") or keys_of(gold.items[0])):
        return False
    keys = keys_of(gold)
    return not keys or (jail is not None and not any(key in found for key in keys))


def _option(text: str) -> tuple[str, str] | None:
    """(letter or letters, text behind it) of a multiple choice answer."""
    if _PAIR.fullmatch(text):
        return None  # (A, B) is a pair
    joined = re.search(r"and|&|,", text) and _LETTERS.fullmatch(text)
    if not joined and (match := _OPTION.fullmatch(text)):
        return next(filter(None, match.groups()[:3])).upper(), match[4] or ""
    if match := re.fullmatch(r"([B-HJ]) [A-Z][a-z]{2,}(?: [A-Z][a-z]+)?", text):  # a letter and a name
        return match[1], text[2:]
    if _LETTERS.fullmatch(text):
        letters = re.findall("[A-H]", text)
        return ("".join(sorted(letters)), "") if len(set(letters)) == len(letters) else None
    return None


def equivalent(prediction: str, gold: str, jail: Jail | None = None) -> bool:
    """`verdict` as a bool. Raises GraderError where that is "infra", so it never passes for "wrong"."""
    status = verdict(prediction, gold, jail)
    if status == "infra":
        raise GraderError(f"the answer {str(gold)[:100]!r} of the set is malformed, or the jail failed")
    return status == "pass"
