"""Does a response follow IFEval's instructions? One function per instruction, strict and loose verdicts.

    follow = strict(response, row["instruction_id_list"], row["kwargs"])
    all(follow)          # the prompt counts as followed where every instruction is

The rules are those of the published program (google-research/instruction_following_eval, in the form that
lm-evaluation-harness maintains), with their quirks: a response is compared with what others measured, not
with what an instruction might mean. Raises ValueError for an instruction that is unknown, or lacks a value.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbkit.verify.instructions.sentences import capital_words, count_sentences

_MOST_CHARACTERS = 20_000  # characters that a language is told from; its beginning says it


def strict(response: str, instructions: Sequence[str], kwargs: Sequence[Mapping]) -> list[bool]:
    """Which of the instructions the response follows. `kwargs`: the values of each; those that are None are
    absent. An empty response follows none."""
    return [_follows(response, name, own) for name, own in zip(instructions, kwargs, strict=True)]


def loose(response: str, instructions: Sequence[str], kwargs: Sequence[Mapping]) -> list[bool]:
    """As `strict`, where the response may also be taken without its first line, its last, or both, and
    without asterisks."""
    lines = response.split("\n")
    cut = [response, "\n".join(lines[1:]), "\n".join(lines[:-1]), "\n".join(lines[1:-1])]
    cut = [cut[0], *(text.strip() for text in cut[1:])]
    forms = [*cut, *(text.replace("*", "") for text in cut)]
    return [
        any(_follows(form, name, own) for form in forms)
        for name, own in zip(instructions, kwargs, strict=True)
    ]


def _follows(response: str, name: str, kwargs: Mapping) -> bool:
    if name not in CHECKS:
        raise ValueError(f"instruction_id_list: got {name!r}, which is none of IFEval's {len(CHECKS)}")
    # Tables fill absent values with None.
    given = {key: value for key, value in kwargs.items() if value not in (None, "", [], 0)}
    try:
        return bool(response.strip()) and bool(CHECKS[name](response, **_wanted(name, given)))
    except (TypeError, KeyError) as error:
        raise ValueError(f"kwargs of {name}: got {dict(given)}, which it cannot use ({error})") from error


def _wanted(name: str, given: Mapping) -> dict[str, Any]:
    """Some releases put the values of all instructions into one object: those of this one."""
    names = CHECKS[name].__code__.co_varnames[1 : CHECKS[name].__code__.co_argcount]
    return {key: given[key] for key in names if key in given}


def _compared(count: int, relation: str, wanted: int) -> bool:
    if relation not in ("less than", "at least"):
        raise KeyError(f"relation {relation!r}, wanted 'less than' or 'at least'")
    return count < wanted if relation == "less than" else count >= wanted


def _keywords(text: str, keywords: Sequence[str]) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def _keyword_frequency(text: str, keyword: str, relation: str, frequency: int) -> bool:
    return _compared(len(re.findall(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


def _forbidden(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letter_frequency(text: str, letter: str, let_relation: str, let_frequency: int) -> bool:
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


def _language(text: str, language: str) -> bool:
    found = _detected(text)
    return found is None or found == language


def _detected(text: str) -> str | None:
    """The language of a text as a code such as "en", None where it has no features (numbers, signs)."""
    try:
        import langdetect  # noqa: PLC0415 (an optional package)
    except ImportError as error:
        raise ValueError(
            "IFEval asks for languages, which langdetect tells apart; run `pip install langdetect==1.0.9`"
        ) from error
    langdetect.DetectorFactory.seed = 0  # its draws would differ from run to run
    try:
        return langdetect.detect(text[:_MOST_CHARACTERS])
    except langdetect.LangDetectException:
        return None


def _sentences(text: str, relation: str, num_sentences: int) -> bool:
    return _compared(count_sentences(text), relation, num_sentences)


def _words(text: str, relation: str, num_words: int) -> bool:
    return _compared(len(re.findall(r"\w+", text)), relation, num_words)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    """Paragraphs are divided by ***; an empty one counts only as a fault, and not at either end."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    empty = [place for place, part in enumerate(parts) if not part.strip()]
    return all(place in (0, len(parts) - 1) for place in empty) and len(parts) - len(empty) == num_paragraphs


def _nth_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = re.split(r"\n\n", text)
    full = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > full or not (own := parts[nth_paragraph - 1].strip()):
        return False
    word = own.split()[0].lstrip("'").lstrip('"')
    return full == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    known = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    return bool(re.findall(known.get(marker, rf"\s*{marker.lower()}.*$"), text.lower(), re.MULTILINE))


def _bullets(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == num_bullets


def _constrained(text: str) -> bool:
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def _highlighted(text: str, num_highlights: int) -> bool:
    single = [found for found in re.findall(r"\*[^\n\*]*\*", text) if found.strip("*").strip()]
    double = [found for found in re.findall(r"\*\*[^\n\*]*\*\*", text) if found[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


def _json(text: str) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str) -> bool:
    parts = text.split("******")
    full = [part.strip() for part in parts if part.strip()]
    inner_empty = any(not part.strip() for part in parts[1:-1])
    return not inner_empty and len(full) == 2 and full[0] != full[1]


def _repeat(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _capital_words(text: str, capital_relation: str, capital_frequency: int) -> bool:
    return _compared(capital_words(text), capital_relation, capital_frequency)


def _english(text: str) -> bool:
    return _detected(text) in (None, "en")


def _capitals(text: str) -> bool:
    return text.isupper() and _english(text)


def _lower_case(text: str) -> bool:
    return text.islower() and _english(text)


def _no_comma(text: str) -> bool:
    return "," not in text


def _quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _nth_first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlighted,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _capitals,
    "change_case:english_lowercase": _lower_case,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _quoted,
}
