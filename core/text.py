"""Text that people and files bring along: names, notes, labels of files."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from core.errors import InputError

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

# Control characters, line and paragraph separators, lone surrogates, and the characters that turn
# the order of others around: a terminal, a log or a table would show another text than is there.
_UNSEEN: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def checked_line(text: str, what: str, *, longest: int) -> str:
    """Return one line of text as a person meant it: trimmed, in Unicode's normal form C.

    `what` begins the message of the InputError (code "bad-text") that is raised for a line break or
    another character that cannot be shown, and for more than `longest` characters.
    """
    line = unicodedata.normalize("NFC", text.strip())
    unseen = _UNSEEN.search(line)
    if unseen:
        raise InputError(
            f"{what} must be one line of text; it contains U+{ord(unseen[0]):04X}, which is a"
            " control character.",
            code="bad-text",
        )
    if len(line) > longest:
        raise InputError(
            f"{what} has {len(line):,} characters; at most {longest:,} are kept.", code="bad-text"
        )
    return line


def printable(text: str) -> str:
    """Return a label, such as the name of a file, with a sign for what cannot be shown in it."""
    return _UNSEEN.sub(REPLACEMENT, text)


# Spreadsheets take these for the beginning of a formula (OWASP, "CSV Injection"), full-width ones
# too. Where the list separator is a semicolon, Excel starts a new cell after one.
_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n])")
_PLAIN_NUMBER: Final = re.compile(r"[+-][0-9][0-9.,]*", re.ASCII)


def formula_safe(cell: str) -> str:
    """Return a cell for CSV with an apostrophe before what a spreadsheet would run as a formula.

    A number with a sign is no formula and stays as it is.
    """
    return cell if _PLAIN_NUMBER.fullmatch(cell) else _FORMULA.sub(r"\1'", cell)
