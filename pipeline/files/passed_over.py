"""What was found in a document and is not read as a page: named, with the reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An image, file or page within a document that is no page of the result.

    `name` says what and where it is ("image 2", "front/.DS_Store"), for showing only. `code` is
    stable and is listed in docs/passed-over.md. `reason` says in plain words why it is not read,
    and what to do if it should be.
    """

    name: str
    code: str
    reason: str

    def within(self, member: str) -> PassedOver:
        """Return the same, found in the member of a ZIP of that name."""
        return PassedOver(f"{member}, {self.name}", self.code, self.reason) if member else self
