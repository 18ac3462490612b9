"""A batch over a real database, store and readers, on which workers' tasks run in this process."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from sqlalchemy import select

from db.models import Document, Page
from db.session import Database
from db.transitions.batches import NewDocument, add_documents
from worker.child import Services
from worker.intake import open_stored_document


def page_image(text: str) -> bytes:
    image = np.full((120, 60 + 40 * len(text)), 245, np.uint8)
    cv2.putText(image, text, (25, 85), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 0, 4)
    return cv2.imencode(".png", image)[1].tobytes()


@dataclass(frozen=True, slots=True)
class World:
    services: Services
    tenant_id: str
    batch_id: str

    @property
    def db(self) -> Database:
        return self.services.db

    def document(self, data: bytes, name: str, *, template_id: str | None = None) -> str:
        """Store a file as an upload does, and return its document's id."""
        stored = self.services.store.put(self.batch_id, io.BytesIO(data))
        with self.db.transaction() as s:
            ((document, _),) = add_documents(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                files=[NewDocument(name, stored.sha256, stored.size)],
                template_id=template_id,
            )
            return document.id

    def pages(self, *texts: str, template_id: str | None = None) -> list[str]:
        """Store and open one file for each text, and return their pages' ids."""
        ids: list[str] = []
        for text in texts:
            document_id = self.document(page_image(text), f"{text}.png", template_id=template_id)
            open_stored_document(self.services, document_id)
            with self.db.reading() as s:
                ids += s.scalars(select(Page.id).where(Page.document_id == document_id)).all()
        return ids

    def page(self, page_id: str) -> Page:
        with self.db.reading() as s:
            return s.scalars(select(Page).where(Page.id == page_id)).one()

    def document_row(self, document_id: str) -> Document:
        with self.db.reading() as s:
            return s.scalars(select(Document).where(Document.id == document_id)).one()
