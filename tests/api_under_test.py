"""The application under test, over a real database and a real store, without a worker.

Pages and fields come in through the same transitions that a worker uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import httpx
import numpy as np
from flask import Flask

from api.context import Services
from core.policy import ReviewReason, review_reason
from core.roles import Role
from core.settings import Settings
from db.transitions.documents import NewPage, claim_document, fail_document, open_document
from db.transitions.outbox import OutboxKind, take_outbox
from db.transitions.pages import (
    claim_pages,
    complete_pages,
    fail_page,
    release_page,
)
from db.transitions.people import ensure_person
from db.transitions.results import FieldResult, PageResult
from db.transitions.sessions import create_sign_in_link
from db.transitions.tenants import create_api_key, ensure_tenant
from tests.http_client import FlaskTransport, HttpClient
from web.app import create_app
from worker.child import Services as WorkerServices
from worker.exports.job import make_export

LEASE = {"lease_seconds": 60.0}


def png(seed: int = 0, *, width: int = 320, height: int = 160) -> bytes:
    """Return a small grey PNG, a different one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
    _, data = cv2.imencode(".png", noise)
    return data.tobytes()


NO_AUDIT = 0.0  # a released field that is asked again by chance would come between those of a test


class Api(HttpClient):
    """A client of the application in this process, which also does a worker's part."""

    def __init__(self, app: Flask, settings: Settings, key: str, other_key: str) -> None:
        super().__init__("http://localhost", key, FlaskTransport(app))
        services: Services = app.extensions["counterfoil"]
        self.app = app
        self.settings = settings
        self.db = services.db
        self.store = services.store
        self.key = key
        self.other_key = other_key  # of another tenant
        self.tenant = "ours"

    def read(self, batch: dict[str, Any], *, fields: int = 2) -> None:
        """Do the work of a worker for a batch: each file is one page with `fields` fields."""
        for document in self.items(f"/v1/batches/{batch['id']}/documents"):
            self.read_document(document["id"], fields=fields)

    def read_document(self, document_id: str, *, fields: int = 2) -> None:
        for page in self.items(f"/v1/batches/{self.open_document(document_id)}/pages"):
            if page["document_id"] == document_id:
                self.read_page(page["id"], fields=fields)

    def open_document(self, document_id: str) -> str:
        """Give a document its one page, and return the id of its batch."""
        with self.db.transaction() as s:
            claimed = claim_document(s, document_id, **LEASE, max_attempts=3)
            assert claimed is not None
            assert open_document(
                s, document_id, claimed.attempt, [NewPage(1, "", None, "image/png")]
            )
        return claimed.batch_id

    def read_page(self, page_id: str, *, fields: int = 2) -> None:
        with self.db.transaction() as s:
            (page,) = claim_pages(s, [page_id], worker="test", **LEASE)
            results = tuple(
                field_result(n, 0.9 + n / 100, page.release_threshold) for n in range(1, fields + 1)
            )
            policy_id = page.policy.policy_id if page.policy else None
            read = PageResult(320, 160, 0.9, results, policy_id=policy_id)
            assert complete_pages(s, [(page.page_id, page.attempt, read)], audit_share=NO_AUDIT)

    def read_values(
        self, batch: dict[str, Any], template: str, pages: Sequence[Mapping[str, str | None]]
    ) -> list[str]:
        """Do the work of a worker: each file is one page with these values, all of them sure.

        Returns the ids of the pages. A value of None was not read.
        """
        ids = []
        documents = self.items(f"/v1/batches/{batch['id']}/documents")
        for document, values in zip(documents, pages, strict=True):
            self.open_document(document["id"])
            (page,) = (
                page
                for page in self.items(f"/v1/batches/{batch['id']}/pages")
                if page["document_id"] == document["id"]
            )
            with self.db.transaction() as s:
                (claim,) = claim_pages(s, [page["id"]], worker="test", **LEASE)
                fields = tuple(
                    replace(
                        field_result(n, 0.99, claim.release_threshold),
                        name=name,
                        value=value,
                        raw=value or "",
                        alternatives=[{"value": value, "probability": 0.99}] if value else [],
                        reason=ReviewReason.NO_VALUE if value is None else None,
                    )
                    for n, (name, value) in enumerate(values.items(), 1)
                )
                read = PageResult(320, 160, 0.9, fields, template=template)
                assert complete_pages(
                    s, [(claim.page_id, claim.attempt, read)], audit_share=NO_AUDIT
                )
            ids.append(page["id"])
        return ids

    def fail_page(self, page_id: str, message: str) -> None:
        with self.db.transaction() as s:
            (page,) = claim_pages(s, [page_id], worker="test", **LEASE)
            assert fail_page(s, page.page_id, page.attempt, "bad-image", message)

    def fail_document(self, document_id: str, message: str) -> None:
        with self.db.transaction() as s:
            claimed = claim_document(s, document_id, **LEASE, max_attempts=3)
            assert claimed is not None
            assert fail_document(s, document_id, claimed.attempt, "bad-file", message)

    def sign_in_link(self, name: str, role: Role = Role.ADMIN, *, tenant: str = "") -> str:
        """Return the path that signs a person in; she is added if the name is new."""
        with self.db.transaction() as s:
            person = ensure_person(s, ensure_tenant(s, tenant or self.tenant).id, name, role)
            return f"/sign-in/{create_sign_in_link(s, person.id)}"

    def sign_in(self, name: str, role: Role = Role.ADMIN, *, tenant: str = "") -> httpx.Client:
        """Return a browser in which a person is signed in."""
        browser = httpx.Client(
            base_url="http://localhost",
            headers={"Accept": "text/html"},
            transport=FlaskTransport(self.app),
            trust_env=False,
        )
        link = self.sign_in_link(name, role, tenant=tenant)
        assert browser.get(link).status_code == 302
        return browser

    def make_exports(self) -> None:
        """Do a worker's part: make the exports that the outbox asks for."""
        worker = WorkerServices(self.settings, self.db, self.store, "test:1")
        with self.db.reading() as s:
            messages = take_outbox(s, 1000)
        for message in messages:
            if message.kind == OutboxKind.EXPORT:
                make_export(worker, message.payload["export_id"])

    def set_aside(self, page_id: str) -> None:
        """Quarantine a page, as if Counterfoil had failed on it too often."""
        with self.db.transaction() as s:
            (page,) = claim_pages(s, [page_id], worker="test", **LEASE)
            fault = ("internal-error", "Counterfoil failed on this page.")
            assert release_page(s, page.page_id, page.attempt, *fault, max_attempts=1)


def field_result(n: int, confidence: float, threshold: float | None) -> FieldResult:
    value = f"00{n}7"
    return FieldResult(
        name=f"field-{n}",
        value=value,
        raw=value,
        confidence=confidence,
        alternatives=[
            {"value": value, "probability": confidence},
            {"value": f"00{n}1", "probability": 1 - confidence},
        ],
        box=(20.0 * n, 30.0, 40.0, 25.0),
        rule=None,
        reader="glyph",
        model_sha256="0" * 64,
        characters=characters_of(value, 20.0 * n, confidence),
        reason=review_reason(value, confidence, threshold, required=True, blocked=None),
        required=True,
    )


def characters_of(value: str, left: float, confidence: float) -> list[dict[str, Any]]:
    """Return the characters of a value, ten pixels wide each; only the last one is doubtful."""
    last = len(value) - 1
    return [
        {
            "text": text,
            "probability": confidence if place == last else 0.9999,
            "box": [left + 10.0 * place, 30.0, 10.0, 25.0],
            "alternatives": [{"value": "1", "probability": 1 - confidence}]
            if place == last
            else [],
        }
        for place, text in enumerate(value)
    ]


@contextmanager
def api_under_test(settings: Settings) -> Iterator[Api]:
    """Build the application over a migrated database, with a key for each of two tenants."""
    app = create_app(settings)
    app.testing = False  # errors are answered as in production
    services: Services = app.extensions["counterfoil"]
    keys = []
    with services.db.transaction() as s:
        for name in ("ours", "theirs"):
            keys.append(create_api_key(s, ensure_tenant(s, name).id, f"{name}-key")[1])
    try:
        yield Api(app, settings, *keys)
    finally:
        services.db.dispose()
