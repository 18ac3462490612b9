"""The fields of an E-13B line, by its symbols: as banks in India and in the United States set it.

India (CTS-2010): ⑈cheque number⑈ sort code⑆ account⑈ transaction code, of which the account is
often left out. United States (ANSI X9.13): ⑆routing number⑆ between its symbols, the account before
an on-us symbol, the cheque number after it or, on business cheques, in front between two; the
amount, where the bank has encoded it, between amount symbols. An account with a gap in it is not
taken: the gap may be a character that left no ink, or part two numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.types import Box

_D = "[0-9?]"  # a digit, or one that could not be read
_END = "(?= ?(?:⑇|$))"  # or the number would be a part of another
_INDIA = re.compile(
    rf"⑈(?P<cheque_number>{_D}{{6}})⑈ ?(?P<sort_code>{_D}{{9}})⑆"
    rf"(?: ?(?P<account>{_D}{{6,7}})⑈)?(?: ?(?P<transaction_code>{_D}{{2,3}}){_END})?"
)
_AMERICA = re.compile(
    rf"(?:⑈(?P<front>{_D}+)⑈ ?)?⑆(?P<routing_number>{_D}{{9}})⑆"
    rf"(?: ?(?P<account>{_D}[0-9?⑉]*)⑈(?: ?(?P<cheque_number>{_D}+){_END})?)?"
    rf"(?:.*⑇(?P<amount>{_D}{{10}})⑇)?"
)
# What a part of the line may be called; a template names its fields by these.
MICR_PARTS = tuple(
    dict.fromkeys(name for name in (*_INDIA.groupindex, *_AMERICA.groupindex) if name != "front")
)


@dataclass(frozen=True, slots=True)
class MicrField:
    """One field of the line.

    `name` is one of MICR_PARTS; the amount is in cents. `value` is its digits (in an account also
    "-"), or None where one of them could not be read or the check digit is wrong; `raw` is as
    read. `check` tells whether the check digit is right; None where the field has none.
    """

    name: str
    value: str | None
    confidence: float  # that all of `value` is right
    box: Box  # of the page
    raw: str
    check: bool | None = None


def parse_fields(
    raw: str, probabilities: Sequence[float], boxes: Sequence[Box | None]
) -> tuple[MicrField, ...]:
    """Return the fields of a line in their order; none where it is set in neither way.

    `probabilities` and `boxes` are of each character of `raw`; a space has no box.
    """
    match = _INDIA.search(raw) or _AMERICA.search(raw)
    if match is None:
        return ()
    fields = []
    for group in sorted(match.re.groupindex, key=match.start):
        if match[group] is None or (group == "cheque_number" and match.groupdict().get("front")):
            continue  # after a cheque number in front, that behind the account is another code
        start, stop = match.span(group)
        name = "cheque_number" if group == "front" else group
        fields.append(_field(name, raw[start:stop], probabilities[start:stop], boxes[start:stop]))
    return tuple(fields)


def _field(
    name: str, text: str, probabilities: Sequence[float], boxes: Sequence[Box | None]
) -> MicrField:
    box = _around([box for box in boxes if box is not None])
    check = None
    if name == "routing_number" and "?" not in text:
        check = aba_is_valid(text)
    if "?" in text or check is False:
        return MicrField(name, None, 0.0, box, text, check)
    return MicrField(name, text.replace("⑉", "-"), math.prod(probabilities), box, text, check)


def aba_is_valid(routing: str) -> bool:
    """Tell whether a routing number of 9 digits has the right check digit (weights 3, 7, 1)."""
    digits = [int(digit) for digit in routing]
    return (
        len(digits) == 9
        and sum(d * w for d, w in zip(digits, (3, 7, 1) * 3, strict=True)) % 10 == 0
    )


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.w for box in boxes)
    bottom = max(box.y + box.h for box in boxes)
    return Box(left, top, right - left, bottom - top)
