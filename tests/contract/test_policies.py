"""Release policies: what counts as evidence, setting one, its alarm, and what is read under it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select, update

from core.errors import ConflictError, InputError
from core.keying import KeyingMode
from core.policy import ReviewReason, review_reason
from core.release import missing, points_of
from core.roles import Role
from db.evidence import keyed_blindly, recent_fields
from db.models import Batch, BatchState, Field, FieldState, Keying, Page, ReleasePolicy
from db.session import Database, Session
from db.transitions.batches import create_batch
from db.transitions.pages import claim_pages, complete_pages
from db.transitions.people import ensure_person
from db.transitions.policies import (
    acknowledge_alarm,
    alarms_to_send,
    policies_to_watch,
    record_alarm_sent,
    rules_in_force,
    set_policy,
    watch_policy,
)
from db.transitions.results import FieldResult, PageResult
from tests.contract.acts import FOREVER, close, new_document, new_tenant, opened
from tests.keyed import MODEL, keyed_batch

ENOUGH = missing(points_of([]), 50)


def page_result(
    fields: int, threshold: float | None, *, confidence: float = 0.99995, model: str = MODEL
) -> PageResult:
    reason = review_reason("17", confidence, threshold, required=True, blocked=None)
    return PageResult(
        width=100,
        height=100,
        template_score=0.9,
        template="cheque",
        fields=tuple(
            FieldResult(
                name=f"amount-{number}" if number else "amount",
                value="17",
                raw="17",
                confidence=confidence,
                alternatives=[],
                box=(0.0, 0.0, 1.0, 1.0),
                rule=None,
                reader="strip",
                model_sha256=model,
                reason=reason,
            )
            for number in range(fields)
        ),
    )


def read(
    db: Database,
    tenant_id: str,
    pages: int,
    *,
    threshold: float | None = None,
    by_policy: bool = False,
    model: str = MODEL,
) -> list[str]:
    """Read a batch of pages with one field each; return the ids of the fields."""
    with db.transaction() as s:
        batch, _ = create_batch(
            s,
            tenant_id=tenant_id,
            name="",
            template_id=None,
            release_threshold=threshold,
            by_policy=by_policy,
        )
    page_ids = opened(db, new_document(db, tenant_id, batch.id), pages)
    close(db, tenant_id, batch.id)
    with db.transaction() as s:
        results = []
        for claim in claim_pages(s, page_ids, worker="w", lease_seconds=FOREVER):
            least = claim.release_threshold
            if claim.policy is not None:
                least = claim.policy.threshold("cheque", "amount", model)
            result = page_result(1, least, model=model)
            policy_id = claim.policy.policy_id if claim.policy else None
            result = PageResult(
                100, 100, 0.9, result.fields, template="cheque", policy_id=policy_id
            )
            results.append((claim.page_id, claim.attempt, result))
        complete_pages(s, results)
    with db.reading() as s:
        return list(s.scalars(select(Field.id).where(Field.batch_id == batch.id)))


def key(
    s: Session,
    tenant_id: str,
    field_ids: Sequence[str],
    value: str | None = "17",
    *,
    mode: KeyingMode = KeyingMode.BLIND,
    who: str = "Ada",
) -> None:
    person = ensure_person(s, tenant_id, f"{who} {tenant_id}", Role.VERIFIER)
    batches = {row.id: row.batch_id for row in s.execute(select(Field.id, Field.batch_id))}
    s.add_all(
        Keying(
            tenant_id=tenant_id,
            batch_id=batches[field_id],
            field_id=field_id,
            person_id=person.id,
            mode=mode,
            value=value,
            shown="17",
            confidence=0.99995,
        )
        for field_id in field_ids
    )
    s.flush()


def complete(s: Session) -> None:
    s.execute(update(Batch).values(state=BatchState.COMPLETE))


@pytest.fixture
def tenant_id(database: Database) -> str:
    return new_tenant(database)


@pytest.fixture
def proven(database: Database, tenant_id: str) -> str:
    """A tenant whose evidence just suffices for one wrong in 50."""
    keyed_batch(database, tenant_id, [0.99995] * ENOUGH)
    return tenant_id


def test_what_counts_as_evidence(database: Database, tenant_id: str) -> None:
    first, second, third, fourth, fifth, sixth = read(database, tenant_id, 6)
    with database.transaction() as s:
        key(s, tenant_id, [first])
        key(s, tenant_id, [second, third, sixth], "71")
        key(s, tenant_id, [sixth], who="Bob")
        key(s, tenant_id, [third], who="Bob")
        key(s, tenant_id, [third], who="Cid")
        key(s, tenant_id, [fourth], None)
        key(s, tenant_id, [fifth], mode=KeyingMode.CONFIRM)
        assert keyed_blindly(s, tenant_id).keyed == 0, "some of the batch may still wait"
        complete(s)
        assert keyed_blindly(s, tenant_id).keyed == 0, "one was shown to her"
        s.execute(update(Field).where(Field.id == fifth).values(reason=ReviewReason.STRUCK_OUT))
        found = keyed_blindly(s, tenant_id)
        rights = sorted(one.right for one in found.fields["cheque", "amount"])
        assert rights == [False, False, True, True, True], "one slip does not count"
        s.execute(update(Keying).values(withdrawn_at=Keying.created_at))
        assert keyed_blindly(s, tenant_id).keyed == 0


def test_planted_fields_measure_people_only(database: Database, tenant_id: str) -> None:
    fields = read(database, tenant_id, 3)
    with database.transaction() as s:
        key(s, tenant_id, fields, mode=KeyingMode.PLANTED)
        complete(s)
        assert keyed_blindly(s, tenant_id).keyed == 0


def test_of_a_batch_with_a_threshold_only_what_was_released_counts(
    database: Database, tenant_id: str
) -> None:
    fields = read(database, tenant_id, 2, threshold=0.9)
    below = read(database, tenant_id, 2, threshold=0.999999)
    with database.transaction() as s:
        key(s, tenant_id, [*fields, *below], mode=KeyingMode.AUDIT)
        complete(s)
        (kept,) = keyed_blindly(s, tenant_id).fields.values()
        assert [one.complete_from for one in kept] == [0.9, 0.9]


def test_only_the_readers_in_use_count(database: Database, tenant_id: str) -> None:
    fields = read(database, tenant_id, 2)
    with database.transaction() as s:
        key(s, tenant_id, fields)
        complete(s)
        assert keyed_blindly(s, tenant_id).models == (MODEL,)
    read(database, tenant_id, 1, model="b" * 64)
    with database.reading() as s:
        found = keyed_blindly(s, tenant_id)
        assert (found.keyed, found.models) == (0, ("b" * 64,))
        assert len(recent_fields(s, tenant_id)) == 1


def test_a_policy_is_set_on_evidence_and_with_a_reason(database: Database, proven: str) -> None:
    def refused(error: type[Exception], **of: object) -> None:
        with pytest.raises(error), database.transaction() as s:
            set_policy(s, **({"tenant_id": proven, "one_in": 50, "who": "Ada", "why": "Yes."} | of))  # type: ignore[arg-type]

    refused(InputError, why=" ")
    refused(InputError, one_in=51)
    refused(ConflictError, one_in=100)
    with database.transaction() as s:
        policy = set_policy(s, tenant_id=proven, one_in=50, who="Ada", why="A year of samples.")
        assert (policy.number, policy.models) == (1, [MODEL])
        assert policy.evidence == {"keyed": ENOUGH, "wrong": 0}
        ((template, name, least),) = policy.thresholds
        assert (template, name) == ("cheque", "amount")
        rules = rules_in_force(s, proven)
        assert rules is not None
        assert rules.threshold("cheque", "amount", MODEL) == least
        assert rules.threshold("cheque", "amount", "b" * 64) is None, "another reader"
        assert rules.threshold("cheque", "date", MODEL) is None
    with database.transaction() as s:
        nothing = set_policy(s, tenant_id=proven, one_in=None, who="Bob", why="An audit.")
        assert nothing.number == 2
        assert rules_in_force(s, proven) is None


def test_pages_are_read_under_the_policy_of_that_moment(database: Database, proven: str) -> None:
    before, other = read(database, proven, 1, by_policy=True), new_tenant(database)
    with database.transaction() as s:
        policy_id = set_policy(s, tenant_id=proven, one_in=50, who="Ada", why="Samples.").id
        assert keyed_blindly(s, other).keyed == 0
        assert rules_in_force(s, other) is None
    released = read(database, proven, 30, by_policy=True)
    explicit = read(database, proven, 1)
    with database.transaction() as s:
        query = select(Field.state, Field.reason, Page.policy_id).join(Page)
        for field_id in (*before, *explicit):
            (one,) = s.execute(query.where(Field.id == field_id))
            assert tuple(one) == (FieldState.REVIEW, ReviewReason.NO_THRESHOLD, None)
        found = {tuple(one) for one in s.execute(query.where(Field.id.in_(released)))}
        assert found == {(FieldState.ACCEPTED, None, policy_id)}
        key(s, proven, released, mode=KeyingMode.AUDIT)
        assert policies_to_watch(s) == [proven]
        assert not watch_policy(s, proven), "it keeps its budget"
        assert s.scalars(select(ReleasePolicy.watched_to)).one() == max(
            s.scalars(select(Keying.id))
        )
        assert rules_in_force(s, proven) is not None


def test_an_alarm_stops_releases_until_it_is_acknowledged_and_a_policy_is_set(
    database: Database, proven: str
) -> None:
    with database.transaction() as s:
        set_policy(s, tenant_id=proven, one_in=50, who="Ada", why="Samples.")
        with pytest.raises(ConflictError):
            acknowledge_alarm(s, tenant_id=proven, who="Ada", why="There is none.")
    released = read(database, proven, 20, by_policy=True)
    with database.transaction() as s:
        key(s, proven, released, "71", mode=KeyingMode.AUDIT)
        assert not watch_policy(s, proven), "one person alone is not believed"
        key(s, proven, released[:1], "71", mode=KeyingMode.AUDIT, who="Bob")
        assert not watch_policy(s, proven), "one may be chance"
        key(s, proven, released[1:], "77", mode=KeyingMode.AUDIT, who="Bob")
    with database.transaction() as s:
        assert policies_to_watch(s) == [proven]
        assert watch_policy(s, proven)
        (alarm,) = alarms_to_send(s)
        assert (alarm.number, alarm.one_in, alarm.audited, alarm.wrong) == (1, 50, 20, 20)
        record_alarm_sent(s, alarm.policy_id)
        assert alarms_to_send(s) == []
        assert not watch_policy(s, proven), "once"
        assert policies_to_watch(s) == []
        assert rules_in_force(s, proven) is None
    assert _state(database, read(database, proven, 1, by_policy=True)) == FieldState.REVIEW
    with database.transaction() as s:
        with pytest.raises(ConflictError, match="alarm"):
            set_policy(s, tenant_id=proven, one_in=None, who="Ada", why="Again.")
        acknowledge_alarm(s, tenant_id=proven, who="Ada", why="A new pen.")
        assert rules_in_force(s, proven) is None
        with pytest.raises(ConflictError, match="evidence"):
            set_policy(s, tenant_id=proven, one_in=50, who="Ada", why="Again.")
    keyed_batch(database, proven, [0.99995] * ENOUGH)
    with database.transaction() as s:
        set_policy(s, tenant_id=proven, one_in=50, who="Ada", why="Measured anew.")
    assert _state(database, read(database, proven, 1, by_policy=True)) == FieldState.ACCEPTED
    with database.reading() as s:
        first = s.scalars(select(ReleasePolicy).where(ReleasePolicy.number == 1)).one()
        assert (first.acknowledged_by, first.acknowledged_why) == ("Ada", "A new pen.")


def _state(db: Database, field_ids: list[str]) -> str:
    with db.reading() as s:
        return s.scalars(select(Field.state).where(Field.id.in_(field_ids))).one()
