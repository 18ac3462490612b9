"""What codes and states are called on the pages, in the words of people who key numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from markupsafe import Markup

from core.checks import CheckState, Finding
from core.clock import utcnow
from core.policy import ReviewReason
from db.carpet import Audit
from db.keyings import Others
from db.models import BatchState, DocumentState, FieldState, PageState
from db.transitions.carpet import Act, Outcome
from db.views import BatchProgress, EventView, FieldView

ERROR_TITLES: Final = {
    HTTPStatus.NOT_FOUND: "Nothing is here",
    HTTPStatus.FORBIDDEN: "You may not do this",
    HTTPStatus.UNAUTHORIZED: "Please sign in",
    HTTPStatus.CONFLICT: "That is not possible now",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "That is too large",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much at once",
    HTTPStatus.SERVICE_UNAVAILABLE: "Please try again in a moment",
    HTTPStatus.INSUFFICIENT_STORAGE: "The server has no room left",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong",
}

BATCH: Final = {
    BatchState.RECEIVING: "taking files",
    BatchState.PROCESSING: "being read",
    BatchState.REVIEWING: "waits for people",
    BatchState.COMPLETE: "complete",
    BatchState.COMPLETE_WITH_ERRORS: "complete, with pages that could not be read",
    BatchState.CANCELLED: "cancelled",
}

DOCUMENT: Final = {
    DocumentState.STORED: "not opened yet",
    DocumentState.OPENED: "opened",
    DocumentState.FAILED: "cannot be opened",
    DocumentState.COPY: "a copy, read once",
}

PAGE: Final = {
    PageState.QUEUED: "waits to be read",
    PageState.LEASED: "being read",
    PageState.READ: "read",
    PageState.FAILED: "could not be read",
    PageState.QUARANTINED: "set aside after several failures",
    PageState.CANCELLED: "cancelled",
    PageState.PASSED_OVER: "passed over, as its template says",
}

FIELD: Final = {
    FieldState.ACCEPTED: "released by the machine",
    FieldState.REVIEW: "waits for a person",
    FieldState.VERIFIED: "verified",
    FieldState.UNREADABLE: "nobody can read it",
}

READER: Final = {
    "both": "both readers",
    "glyph": "the reader of single digits",
    "strip": "the reader of whole fields",
    "micr": "the reader of E-13B",
}

LIKELY: Final = 0.005  # a less likely character is not worth a word

REASON: Final = {
    ReviewReason.NO_VALUE: "The machine found no value that this field can have.",
    ReviewReason.REQUIRED_EMPTY: "It seems empty, but must hold a value.",
    ReviewReason.NO_THRESHOLD: "Nothing is released here without a person.",
    ReviewReason.BELOW_THRESHOLD: "The machine is not sure enough.",
    ReviewReason.OFF_PAGE: "The field is not on the scan.",
    ReviewReason.CUT: "The edge of the scan cuts the field.",
    ReviewReason.TOO_DARK: "The scan is too dark here.",
    ReviewReason.TOO_FAINT: "The writing is too faint.",
    ReviewReason.TOO_SMALL: "The writing is too small on this scan.",
    ReviewReason.UNSURE_PLACE: "The machine is not sure that this is the right place.",
    ReviewReason.STRUCK_OUT: "The number seems struck out.",
    ReviewReason.OVERWRITTEN: "A digit seems written over another.",
    ReviewReason.MAYBE_PRINT: "This may be print, not handwriting.",
    ReviewReason.TORN: "This seems a piece of larger writing.",
    ReviewReason.FOLLOWS_BOX: "The writing follows the lines of its box.",
    ReviewReason.CHECK_FAILS: "It does not agree with another field.",
    ReviewReason.ASKED_AGAIN: "Somebody asked to look at it again.",
    ReviewReason.AUDIT_DIFFERS: "It was released, and a check read something else.",
    ReviewReason.FAILED_AUDIT: "It was released, but a person found a wrong digit in it.",
}

FAULT: Final = {
    "field-changed": "Somebody else decided it meanwhile.",
    "question-over": "Somebody else decided it meanwhile.",
    "note-required": "Say why in a note.",
}


CHECK: Final = {
    CheckState.HOLDS: "holds",
    CheckState.FAILS: "fails",
    CheckState.UNKNOWN: "cannot be decided",
}


def reason(code: str | None) -> str:
    """Return why a field waits, as a sentence; "" where it does not."""
    return "" if code is None else REASON[ReviewReason(code)]


def shown(value: str | None) -> Markup:
    """Return the value of a field as the pages show it."""
    if value is None:
        return Markup("<em>no value</em>")
    if value == "":
        return Markup("<em>empty</em>")
    return Markup('<data value="{0}">{0}</data>').format(value)


def contradiction(finding: Finding) -> str:
    """Return what a check across fields says against a value, beginning with the rule's name."""
    return f"{finding.name}: {finding.message}"


def event(happened: EventView, names: Mapping[str, str]) -> str:
    """Return what a person did to a field; `names` are those of the fields of its page."""
    about = happened.payload
    field = label(names.get(about.get("field_id", ""), "a field"))
    who = about.get("by", "somebody")
    before = about.get("before")
    instead = f", instead of {_quoted(before)}" if before != about.get("value") else ""
    match happened.kind:
        case "field.verified" if about.get("seen_by"):
            eyes = several(list(dict.fromkeys(about["seen_by"])))
            said = f"each digit was looked at by {eyes}: {_quoted(about['value'])}{instead}"
        case "field.verified":
            said = f"{who} read {_quoted(about['value'])}{instead}"
        case "field.unreadable":
            said = f"{who} said that nobody can read it"
        case "field.keyed":
            said = f"{who} keyed it, without seeing what others read"
        case "field.recalled":
            said = f"{who} and another person read something else than {_quoted(before)}"
        case "field.postponed":
            said = f"{who} left it for later"
        case "field.reopened":
            said = f"{who} took the decision {_quoted(before)} back"
        case "field.asked_again":
            said = f"{who} asked to look at it again"
        case "field.contradicted":
            said = f"waits again: with what {who} decided, the check “{about['check']}” fails"
        case "field.corrected":
            said = f"{who} typed over a digit: {_quoted(about['value'])}{instead}"
        case "field.doubted":
            said = f"{who} found the {about['shown']} odd"
        case "field.unreleased":
            said = f"{who} found a wrong digit in {_quoted(before)}; it is not released any more"
        case "field.restored":
            said = f"{who} took that back; {_quoted(about['value'])} is released again"
        case _:
            said = happened.kind
    note = about.get("note")
    return f"{field}: {said}." + (f" “{note}”" if note else "")


def rivals(character: Mapping[str, Any]) -> list[str]:
    """Return the characters that may well stand in the place of one that was read."""
    found = [one for one in character["alternatives"] if one["probability"] >= LIKELY]
    return [one["value"] for one in found]


def ink(field: FieldView, batch: BatchProgress) -> list[str]:
    """Return how the value that the machine read came from the ink, in sentences."""
    if field.raw is None:
        return []
    reader = READER.get(field.reader or "", field.reader)
    by = f"The machine ({reader}, model {(field.model_sha256 or '')[:8]})"
    said = [f"{by} saw {_quoted(field.raw)}."]
    if field.rule:
        said[0] = f"{by} saw {_quoted(field.raw)}, and took it as the field may hold {field.rule}."
    if field.confidence is not None:
        asked = "the batch releases nothing without a person"
        if batch.by_policy:
            asked = "the release policy of that time decided"
        elif batch.release_threshold is not None:
            asked = f"the batch releases from {percent(batch.release_threshold)}"
        said.append(f"It was {percent(field.confidence)} sure; {asked}.")
    if field.reason is None:
        said.append("So it was released by the machine.")
    else:
        said.append(f"So it went to a person. {reason(field.reason)}")
    return said


def disputed(keyed: Sequence[str | None], proposed: str | None) -> str:
    """Return what people and the machine read in a field that a supervisor settles."""
    people = several([_read(one) for one in keyed])
    return f"People read {people}; the machine read {_read(proposed)}."


def _read(value: str | None) -> str:
    return "nothing that is sure" if value is None else _quoted(value)


def others(waiting: Others) -> str:
    """Return for whom the fields wait that a person is not asked for; "" if there are none."""
    said = []
    for count, who, names in (
        (waiting.to_key, "another person, who does not see what you keyed", waiting.verifiers),
        (
            waiting.to_settle,
            "a supervisor, who sees all that was read",
            waiting.supervisors,
        ),
    ):
        if count:
            wait = plural(count, "field waits", "fields wait")
            nobody = "there is nobody else: ask whoever manages Counterfoil to add a person"
            said.append(f"{wait} for {who} ({several(names, 3) or nobody}).")
    return " ".join(said)


def fault(code: str, message: str) -> str:
    """Return what is wrong with a decision, in about five words."""
    if code in FAULT:
        return FAULT[code]
    said = message.partition(": ")[2].partition(". ")[0] or message
    return said[:1].upper() + said[1:].rstrip(".") + "."


def outcome(done: Outcome) -> str:
    """Return what came of a screen of a digit carpet."""
    acts = done.acts
    said = [plural(done.confirmed, "digit confirmed", "digits confirmed")]
    if done.doubted:
        said.append(plural(done.doubted, "left for a look at the whole field"))
    for act, one, several in (
        (Act.CORRECTED, "value corrected", "values corrected"),
        (Act.CLOSED, "field verified", "fields verified"),
        (Act.RECALLED, "field no longer released", "fields no longer released"),
    ):
        if acts.get(act):
            said.append(plural(acts[act], one, several))
    return ", ".join(said) + "."


def audit(found: Audit) -> str:
    """Return how far a sample of released fields was looked at."""
    drawn = (
        f"{plural(found.sampled, 'field')} drawn of {found.released:,} that the machine released"
    )
    wrong = plural(found.wrong, "was wrong", "were wrong")
    return f"{drawn}: {found.seen:,} looked at whole, {wrong}."


def _quoted(value: str | None) -> str:
    if value is None:
        return "no value"
    return f"“{value}”" if value else "empty"


def label(name: str) -> str:
    """Return the name of a field as people say it: `date-of-birth` is "Date of birth"."""
    words = name.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def ago(moment: datetime) -> str:
    """Return how long ago a moment was, roughly."""
    seconds = max(0, int((utcnow() - moment).total_seconds()))
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{plural(seconds // size, name)} ago"
    return "just now"


def duration(seconds: float | None) -> str:
    """Return a time that is left, roughly; "" where it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute"
    if seconds < 3600:
        return plural(round(seconds / 60), "minute")
    return plural(round(seconds / 3600), "hour")


def speed(batch: BatchProgress) -> str:
    """Return how fast a batch is read now; "" where it is not known."""
    left = batch.documents[DocumentState.STORED]
    left += batch.pages[PageState.QUEUED] + batch.pages[PageState.LEASED]
    if not left or not batch.eta_seconds:
        return ""
    return f"{plural(max(1, round(60 * left / batch.eta_seconds)), 'page')} a minute"


def plural(count: int, one: str, several: str = "") -> str:
    """Return a count and its noun: "1 page", "1,200 pages"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def percent(share: float | None) -> str:
    """Return a confidence as people read it, rounded down: 0.99996 is "99.9 %", never "100 %"."""
    return "–" if share is None else f"{int(share * 1000) / 10:g} %"


def a_role(role: str) -> str:
    """Return a role with its article: "an operator"."""
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"


def several(names: Sequence[str], most: int = 5) -> str:
    """Return a list of names as people write it, cut off after `most`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
