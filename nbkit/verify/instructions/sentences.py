"""How many sentences a text has, and its words in capitals, counted as IFEval's own program counts them: with
the rules of Punkt (Kiss and Strunk 2006) and of the Penn Treebank, and short word lists in place of trained
ones. benchmarks/eval_agreement.py measures how often the two agree.

    count_sentences("Dr. Smith left. He ran!")    # 2
    capital_words("NASA said it DIDN'T")          # 3: "NASA", "DID", "N'T"
"""

import re


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that end in a point inside a sentence. Lower case, without the last point.
_ABBREVIATIONS = _listed(
    "a.m adm al apr apt assn aug ave b.c bros c.f ca capt cf cie co col conn corp d.c dec dept dr e.g est etc"
    " feb fig fla fri ft ga gen gov hon i.e inc jan jr lt ltd maj mass mich minn mon mr mrs ms mt nev nov"
    " oct okla ore p.m pa ph.d pp prof r.i rep rev s.c sat sen sep sept sgt sr st tenn tex u.k u.n u.s u.s.a"
    " va vol vs vt wash wed wis"
)
# Common words, which begin with a capital only at the start of a sentence.
_COMMON = _listed(
    "a about after all also although an and another any are as at because before but by can do each even"
    " every finally first for from furthermore he her here his how however i if in instead is it its let"
    " many moreover most my next no not now of on once one or our overall please remember second several she"
    " since so some such that the their then there these they third this those though through to today"
    " together under until was we what when where whether which while who why will with without you your"
)
_END = re.compile(r"""\S*[.?!](?=(?P<closed>[)";}\]*:@'({\[!?])|\s+(?P<next>\S+))""")
_WORD = re.compile(
    r"""-{2,}|\.{2,}|(?:\.\s){2,}\.|(?=[^("`{\[:;&#*@)}\]\-,])\S+?"""
    r"""(?=\s|$|[)";}\]*:@'({\[!?]|-{2,}|\.{2,}|(?:\.\s){2,}\.|,(?=$|\s|[)";}\]*:@'({\[!?]|-{2,}|\.{2,}))|\S"""
)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.\-]*\.?")
_INITIAL = re.compile(r"[^\W\d]\.")
_CLOSING = re.compile(r"""["')\]}]+?(?:\s+|(?=--)|$)""")


def count_sentences(text: str) -> int:
    """How many sentences; 0 for a text without any sign."""
    found, start = [], 0
    for match in _END.finditer(text):
        following = match["next"] or match["closed"] or ""
        if not _breaks(match[0], following):
            continue
        found.append(text[start : match.end()])
        start = match.start("next") if match["next"] else match.end()
    found.append(text[start : len(text.rstrip())])
    # A closing quote or bracket belongs to the sentence before it, and is none by itself.
    count, moved = 0, 0
    for index, sentence in enumerate(found):
        rest = sentence[moved:].lstrip() if moved else sentence
        ahead = found[index + 1] if index + 1 < len(found) else ""
        closing = _CLOSING.match(ahead)
        moved = closing.end() if closing else 0
        count += bool(rest.strip()) or bool(closing and rest.strip())
    return count


def _breaks(piece: str, following: str) -> bool:
    """Does a sentence end between `piece`, which ends in . ? or !, and the sign or word after it?"""
    words = [word for word in _WORD.findall(f"{piece} {following}") if word.strip()]
    pairs = zip(words, words[1:], strict=False)
    return any(_ends(word, after) for word, after in pairs)


def _ends(word: str, after: str) -> bool:
    if word in ("?", "!", "."):
        return True
    if word.endswith("..") or not word.endswith("."):
        # An ellipsis ends a sentence only where a common word with a capital follows.
        return word.endswith("..") and _starts(after)
    kind = word[:-1].lower()
    abbreviated = kind in _ABBREVIATIONS or kind.rpartition("-")[2] in _ABBREVIATIONS
    if _INITIAL.fullmatch(word):
        return _starts(after)
    if _NUMBER.fullmatch(word):
        return not after[:1].islower()
    return _starts(after) if abbreviated else True


def _starts(word: str) -> bool:
    return word[:1].isupper() and word.lower().rstrip(".,") in _COMMON


_SEPARATE = re.compile(r"""\.{2,}|--|[;@#$%&?!()\[\]{}<>"“”‘’«»]|[:,](?=\D|$)|``|''""")
_CONTRACTION = re.compile(r"(?i)(?<=[^\W\d_])(n't|'(?:s|m|d|ll|re|ve))(?=\s|$)")
_JOINED = re.compile(r"(?i)\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b")


def capital_words(text: str) -> int:
    """How many words, or parts of a contraction, are in capitals."""
    text = _SEPARATE.sub(" ", text)
    text = _CONTRACTION.sub(r" \1 ", text)
    text = _JOINED.sub(lambda found: " ".join(part for part in found.groups() if part), text)
    return sum(word.isupper() for word in text.split())
