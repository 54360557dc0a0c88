"""What some dimensions count, as patterns: words of reasoning, of teaching, of chat, of advertising."""

import re


def _words(pattern: str) -> re.Pattern:
    return re.compile(rf"\b(?:{pattern})\b", re.I)


REASON = re.compile(
    r"\b(?:because|since|therefore|thus|hence|so|then|if|although|however|whereas|while|despite|unless"
    r"|consequently"
    r"|implies|due to|as a result|in order to|first|next|finally|step)\b|\d ?= ?-?\d",
    re.I,
)
TEACH = _words(
    r"is an?|are|is the|called|known as|defin\w+|refers? to|consists? of|such as|means|types? of"
    r"|for example|e\.g"
    r"|that is|i\.e|explain\w*|describe\w*|shows?|note that|recall|prov(?:e|en|ed)|proof|solution|example"
    r"|suppose|let"
    r"|results?|caused?|causes|used to|function|theory|process"
)
LEARNED = re.compile(
    r"\b[a-z]{3,}(?:tion|sion|sis|ity|ism|ment|ance|ence|ology|graphy|ical|ous|ive|ate|ase|ide|ics|ular"
    r"|genic|morphism)s?\b"
    r"|\\[a-z]+|\w ?[=^] ?[\w\\{-]|\b\d+\.\d+|\b(?:def|return|import|while|theorem|lemma|equation)\b",
    re.I,
)
CHATTY = re.compile(
    r"\b(?:i|i'm|im|my|me|u|ur|omg|lol|haha|btw|honestly|anyway|whatever|hate|love|ok|stupid|crap|guys?"
    r"|gonna|wanna)\b"
    r"|!|\?{2,}",
    re.I,
)
PROMOTION = re.compile(
    r"\b(?:buy|cheap|free|offers?|discount|click|subscribe|newsletter|sale|deals?|order now|sign up"
    r"|sponsor\w*"
    r"|promo\w*|limited time|best price|casino|winner|guarantee\w*|millions?|dollars|funds?|cash|profits?"
    r"|earn|invest\w*"
    r"|your (?:account|e?mail|business|order|name|money)|dear|urgent\w*|congratulations|beneficiary"
    r"|transfer|bank"
    r"|visit (?:us|our)|call (?:us|now)|contact (?:us|me)|reply|shop|price|our (?:company|products?"
    r"|services?|team|customers)"
    r"|opportunit(?:y|ies)|customers?|confidential|assistance|kindly)\b|[$£€]\d",
    re.I,
)
BOILERPLATE = re.compile(
    r"\b(?:cookies?|privacy policy|terms of (?:service|use)|all rights reserved|copyright|log ?in|sign in"
    r"|sitemap"
    r"|newsletter|contact us|about us|subscribe|share (?:on|this)|javascript|accept all|loading|page \d+ of"
    r"|menu|home"
    r"|facebook|twitter|rss|unsubscribe|search|read more|related (?:articles|stories)|comments?|previous"
    r"|advertis\w+|follow us)\b"
    r"| \| |>>|»|^(?:from|to|subject|date|reply ?- ?to|sent):",
    re.I | re.M,
)
MARKUP = re.compile(
    r"</?[a-z][^<>\n]{0,80}>|&[a-z]{2,6};|https?:|www\.|\{\{|\}\}|\[\[|\]\]|@@|^\W{3,}$", re.I | re.M
)
ODD = re.compile(r"[^\w\s!-/:-@\[-`{-~£€‘’“”–—…°·×÷²³µ±§←-⋿]|�|Ã.|â€|([!?.*#~=_-])\1{3,}")
ENDED = re.compile(r"(?:[.!?:;)\]}\"”’'$]|\d)\s*$")
