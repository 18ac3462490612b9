"""The release policy: what the machine may release, what that rests on, and the alarm."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api import audit
from api.context import services
from core.release import BUDGETS, Choice, Outlook, Point, look, points_of
from core.roles import Role
from db import policies
from db.evidence import Evidence, RecentField, keyed_blindly, recent_fields
from db.transitions import policies as transitions
from web.policy_chart import Chart, draw
from web.signing_in import needs, person, person_or_none

blueprint = Blueprint("policy", __name__)

_USUAL = BUDGETS.index(1000)
_HISTORY = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A field of a template, and what would be done with it."""

    choice: Choice
    unseen: float | None  # the share of these fields that is released; None: none was read lately


@dataclass(frozen=True, slots=True)
class Preview:
    """What a budget would bring."""

    outlook: Outlook
    rows: tuple[Row, ...]
    unseen: float  # the share of all fields that is released
    keystrokes: float  # that this saves, of 100
    released: Point  # what is known of the values that would be released
    keyed: int
    wrong: int
    chart: Chart


def is_alarmed() -> bool:
    """Say whether the page must show the alarm: to supervisors, until one acknowledges it."""
    me = person_or_none()
    if me is None or not me.may(Role.SUPERVISOR):
        return False
    with services().db.reading() as session:
        return policies.has_open_alarm(session, me.tenant_id)


@blueprint.get("/policy")
@needs(Role.SUPERVISOR)
def policy() -> str:
    """Show the policy in force, and what another would bring. Scripts ask for the latter alone."""
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        evidence, recent = keyed_blindly(session, tenant_id), recent_fields(session, tenant_id)
        history = policies.list_policies(session, tenant_id)
        last = history[0] if history else None
        if request.headers.get("HX-Request"):
            one_in = BUDGETS[_step(_USUAL)]
            preview = preview_of(evidence, recent, one_in)
            return render_template("policy_preview.html", preview=preview, last=last)
        watch = policies.watched(session, tenant_id, last.id) if last else None
    usual = BUDGETS.index(last.one_in) if last and last.one_in in BUDGETS else _USUAL
    step = _step(usual)
    return render_template(
        "policy.html",
        last=last,
        watch=watch,
        history=history[:_HISTORY],
        budgets=BUDGETS,
        step=step,
        preview=preview_of(evidence, recent, BUDGETS[step]),
    )


@blueprint.post("/policy")
@needs(Role.SUPERVISOR)
def change() -> Response:
    """Set a policy; without `one_in`, nothing is released from now on."""
    one_in = request.form.get("one_in", "")
    audit.note(one_in=one_in)
    with services().db.transaction() as session:
        transitions.set_policy(
            session,
            tenant_id=person().tenant_id,
            one_in=int(one_in) if one_in.isascii() and one_in.isdigit() else None,
            who=person().name,
            why=request.form.get("why", ""),
        )
    return redirect(url_for("web.policy.policy"))


@blueprint.post("/policy/acknowledge")
@needs(Role.SUPERVISOR)
def acknowledge() -> Response:
    """Record that a supervisor knows of the alarm."""
    with services().db.transaction() as session:
        transitions.acknowledge_alarm(
            session,
            tenant_id=person().tenant_id,
            who=person().name,
            why=request.form.get("why", ""),
        )
    return redirect(url_for("web.policy.policy"))


def _step(usual: int) -> int:
    text = request.args.get("step", "")
    if text.isascii() and text.isdigit() and len(text) < 3:
        return min(int(text), len(BUDGETS) - 1)
    return usual


def preview_of(evidence: Evidence, recent: list[RecentField], one_in: int) -> Preview:
    """Return what a budget would bring, by the evidence and the fields that were read lately."""
    outlook = look(evidence.fields, one_in)
    thresholds = outlook.thresholds
    released = [
        field
        for field in recent
        if field.releasable and field.confidence >= thresholds.get(field.key, 2.0)
    ]
    rows = []
    for choice in outlook.choices:
        of_kind = sum(field.key == choice.field for field in recent)
        out = sum(field.key == choice.field for field in released)
        rows.append(Row(choice, out / of_kind if of_kind else None))
    known = [
        field
        for key, fields in evidence.fields.items()
        for field in fields
        if key in thresholds and field.confidence >= thresholds[key] >= field.complete_from
    ]
    wrong = sum(not field.right for field in known)
    strokes = sum(field.length + 1 for field in recent)  # the value, and Enter
    saved = sum(field.length + 1 for field in released)
    points = points_of(field for fields in evidence.fields.values() for field in fields)
    return Preview(
        outlook=outlook,
        rows=tuple(rows),
        unseen=len(released) / len(recent) if recent else 0.0,
        keystrokes=100 * saved / strokes if strokes else 0.0,
        released=Point(min(thresholds.values(), default=1.0), len(known), wrong),
        keyed=evidence.keyed,
        wrong=evidence.wrong,
        chart=draw(points, recent, one_in, thresholds.values()),
    )
