"""Who may do what in the browser."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person may do in the browser. Each may do all that those before may."""

    OPERATOR = "operator"  # upload, watch, look
    VERIFIER = "verifier"  # decide fields
    SUPERVISOR = "supervisor"  # export, retry, cancel, delete
    ADMIN = "admin"  # people
