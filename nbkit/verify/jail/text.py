"""Text that a jailed program had a hand in, made fit for logs, tokenizers and databases (`results.py`).

printable("bad \\x1b[31m \\ud800")  # the same with the escapes written out: 'bad \\\\x1b[31m \\\\ud800'
"""

MAX_DETAIL = 300


def printable(text: object, limit: int = MAX_DETAIL) -> str:
    """`text` with everything but printable characters, newlines and tabs written as Python escapes, cut to
    `limit` characters; "" for anything but a text. What comes out always encodes as UTF-8."""
    if type(text) is not str:
        return ""
    plain = (
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text[:limit]
    )
    return "".join(plain)[:limit]
