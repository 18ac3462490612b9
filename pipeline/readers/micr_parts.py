"""The parts of an E-13B line, told apart by its symbols, as India and the United States set it.

India (CTS-2010): ⑈cheque number⑈ sort code⑆ account⑈ transaction code; the account is often left
out. United States (ANSI X9.13): ⑆routing number⑆, then the account before an on-us symbol, then the
cheque number (on business cheques in front, between two on-us symbols); the amount, where the bank
has encoded it, between amount symbols. An account with a gap in it is not taken: the gap may be a
character that left no ink, or it may separate two numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.geometry import union
from pipeline.grammar.languages import checksum
from pipeline.types import Box, Character

_D = "[0-9?]"  # a digit, or one that could not be read
_END = "(?= ?(?:⑇|$))"  # without it the number could be the beginning of another
_INDIA = re.compile(
    rf"⑈(?P<cheque_number>{_D}{{6}})⑈ ?(?P<sort_code>{_D}{{9}})⑆"
    rf"(?: ?(?P<account>{_D}{{6,7}})⑈)?(?: ?(?P<transaction_code>{_D}{{2,3}}){_END})?"
)
_AMERICA = re.compile(
    rf"(?:⑈(?P<_front>{_D}+)⑈ ?)?⑆(?P<routing_number>{_D}{{9}})⑆"
    rf"(?: ?(?P<account>{_D}[0-9?⑉]*)⑈(?: ?(?P<cheque_number>{_D}+){_END})?)?"
    rf"(?:(?P<_unknown>.*)⑇(?P<amount>{_D}{{10}})⑇)?"
)
# The names of the parts; a template names its fields by these.
MICR_PARTS = tuple(
    dict.fromkeys(
        name for name in (*_INDIA.groupindex, *_AMERICA.groupindex) if not name.startswith("_")
    )
)


@dataclass(frozen=True, slots=True)
class MicrPart:
    """One part of the line.

    `name` is one of MICR_PARTS; an amount is in cents. `value` is its digits (and "-" in an
    account), or None where one of them could not be read or the check digit is wrong. `raw` is the
    part as read.
    """

    name: str
    value: str | None
    confidence: float  # that all of `value` is right
    box: Box  # of the page
    raw: str
    characters: tuple[Character, ...] = ()  # of `value`


def parse_parts(
    raw: str, probabilities: Sequence[float], boxes: Sequence[Box | None]
) -> tuple[MicrPart, ...]:
    """Return the parts of a line in their order; none where it is set neither way.

    `probabilities` and `boxes` belong to the characters of `raw`, one each; a space has no box.
    """
    match = _INDIA.search(raw) or _AMERICA.search(raw)
    if match is None:
        return ()
    parts = []
    for group in sorted(match.re.groupindex, key=match.start):
        if match[group] is None or group == "_unknown":
            continue
        if group == "cheque_number" and match.groupdict().get("_front"):
            continue  # with a cheque number in front, the one behind the account is another code
        start, stop = match.span(group)
        name = "cheque_number" if group == "_front" else group
        parts.append(_part(name, raw[start:stop], probabilities[start:stop], boxes[start:stop]))
    return tuple(parts)


def is_understood(raw: str) -> bool:
    """Say whether every character of a line was read and is where a part or its symbols may be.

    Only then is a part that is not on the line surely left out. A number with a gap in it, for
    example, is no part, and yet it is there.
    """
    if "?" in raw:
        return False
    match = _INDIA.fullmatch(raw) or _AMERICA.fullmatch(raw)
    return match is not None and not (match.groupdict().get("_unknown") or "").strip()


def _part(
    name: str, text: str, probabilities: Sequence[float], boxes: Sequence[Box | None]
) -> MicrPart:
    box = union(box for box in boxes if box is not None)
    wrong = name == "routing_number" and not checksum("aba", 9).accepts(text)
    if "?" in text or wrong:
        return MicrPart(name, None, 0.0, box, text)
    value = text.replace("⑉", "-")
    characters = tuple(
        Character(place, character, probability)
        for place, character, probability in zip(boxes, value, probabilities, strict=True)
        if place is not None
    )
    return MicrPart(name, value, math.prod(probabilities), box, text, characters)
