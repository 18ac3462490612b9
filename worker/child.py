"""What a worker child needs. It is made once, after the fork, never at import."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from core.log import get_logger
from core.settings import Settings
from db.session import Database
from storage.base import ObjectStore
from storage.open import open_store
from storage.site_models import current_strip
from worker.parent import die_with_parent

if TYPE_CHECKING:
    from pipeline.placing.template_set import TemplateSet
    from pipeline.readers.loaded import Readers
    from worker.guard.opener import DocumentOpener

log = get_logger(__name__)

# Templates take a few kilobytes each, and a batch uses few of them.
_TEMPLATES_KEPT = 64


@dataclass(frozen=True)
class Services:
    """The settings, database, store and readers of a child. Its threads may share them."""

    settings: Settings
    db: Database
    store: ObjectStore
    name: str  # of this child; stored with the pages that it claims

    @cached_property
    def readers(self) -> Readers:
        """The readers with their weights, loaded at the first use."""
        from pipeline.readers.loaded import load_readers

        return load_readers(current_strip(self.settings.home))

    @cached_property
    def opener(self) -> DocumentOpener:
        from worker.guard.opener import DocumentOpener

        return DocumentOpener.from_settings(self.settings)

    @cached_property
    def _templates(self) -> dict[str, TemplateSet]:
        return {}

    def template(self, template_id: str, text: str) -> TemplateSet:
        """Return the parsed templates of an id, whose text never changes. Raises TemplateError."""
        from pipeline.placing.template_set import parse_templates

        known = self._templates.get(template_id)
        if known is None:
            known = parse_templates(text)
            if len(self._templates) >= _TEMPLATES_KEPT:
                self._templates.pop(next(iter(self._templates)))
            self._templates[template_id] = known
        return known


_services: Services | None = None


def services(settings: Settings) -> Services:
    """Return this process's services. Raises ConfigError, TransientError."""
    global _services
    if _services is None:
        _services = Services(
            settings=settings,
            db=Database(settings.resolved_database_url()),
            store=open_store(settings),
            name=f"{socket.gethostname()}:{os.getpid()}",
        )
    return _services


def begin(settings: Settings, *, reads_pages: bool) -> None:
    """Prepare a child that was just forked.

    What fails here is tried again by the first task: a service may be away while the worker starts.
    """
    die_with_parent()
    import cv2

    cv2.setNumThreads(1)
    try:
        made = services(settings)
        if reads_pages:
            _ = made.readers
    except Exception:
        log.exception("child.not-ready")
