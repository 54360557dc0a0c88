"""How many sentences a text has, and its words in capitals, counted as IFEval's own program counts them: with
the rules of Punkt (Kiss and Strunk 2006) and of the Penn Treebank, and short word lists in place of trained
ones. benchmarks/eval_agreement.py measures how often the two agree.

    count_sentences("Dr. Smith left. He ran!")    # 2
    capital_words("NASA said it DIDN'T")          # 3: "NASA", "DID", "N'T"
"""

import re


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that end in a point inside a sentence, as Punkt learned them from newspapers: it knows no "e.g.",
# "i.e." or "etc.", after which it ends a sentence. Lower case, without the last point.
_ABBREVIATIONS = _listed(
    "adm ala ariz aug ave bros calif chg cie co col colo conn corp cos ct dec dr feb fla fri ft ga gen"
    " ill inc jan jr kan ky lt ltd maj messrs mg mich minn mr mrs ms nev nov oct ok okla ore pa ph.d prof"
    " rep reps sen sep sept sr st sw tenn tues u.s.a u.s.s.r va vs vt w.va wash wed wis yr"
)
_LETTERED = _listed(
    "a.a a.c a.d a.g a.h a.m a.m.e a.s a.t b.f b.v c.i.t c.o.m.b c.v d.c d.h d.w e.f e.h e.l e.m f.g f.j"
    " g.d g.f g.k h.c h.f h.m i.m.s j.b j.c j.j j.k j.p j.r l.a l.f l.p m.b.a m.d.c m.j n.c n.d n.h n.j"
    " n.m n.v n.y p.a.m p.m r.a r.h r.i r.j r.k r.t s.a s.a.y s.c s.g s.p.a s.s t.j u.k u.n u.s w.c w.r"
    " w.w"
)
_SHORT = _ABBREVIATIONS | _LETTERED
_LETTERS = frozenset("cdefghklmnprstvw")  # which Punkt takes for abbreviations, and not for initials alone
# Common words, which begin with a capital only at the start of a sentence.
_COMMON = _listed(
    "a about after all also although an and another any are as at because before but by can do each even"
    " every finally first for from furthermore he her here his how however i if in instead is it its let"
    " many moreover most my next no not now of on once one or our overall please remember second several she"
    " since so some such that the their then there these they third this those though through to today"
    " together under until was we what when where whether which while who why will with without you your"
)
_END = re.compile(r"""\S*[.?!](?=(?P<closed>[)";}\]*:@'({\[!?‘’“”«»])|\s+(?P<next>\S+))""")
_WORD = re.compile(
    r"""-{2,}|\.{2,}|(?:\.\s){2,}\.|(?=[^("`{\[:;&#*@)}\]\-,])\S+?"""
    r"""(?=\s|$|[)";}\]*:@'({\[!?‘’“”«»]|-{2,}|\.{2,}|(?:\.\s){2,}\."""
    r"""|,(?=$|\s|[)";}\]*:@'({\[!?‘’“”«»]|-{2,}|\.{2,}))|\S"""
)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.\-]*\.?")
_INITIAL = re.compile(r"[^\W\d]\.")
_CLOSING = re.compile(r"""["')\]}‘’“”«»]+?(?:\s+|(?=--)|$)""")


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
    abbreviated = not _SHORT.isdisjoint((kind, kind.rpartition("-")[2]))
    if _INITIAL.fullmatch(word):
        return kind not in _LETTERS and _starts(after)
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
