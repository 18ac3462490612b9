"""Who may do what in the browser."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person may do in the browser. Each may do all that those before may."""

    OPERATOR = "operator"  # upload, watch, look
    VERIFIER = "verifier"  # decide fields
    SUPERVISOR = "supervisor"  # export, retry, cancel, delete
    ADMIN = "admin"  # people


class SignInMethod(StrEnum):
    """How a person proved who she is."""

    LINK = "link"  # one that works once
    PASSWORD = "password"  # noqa: S105 (no secret)
    PROVIDER = "provider"  # an identity provider, by OpenID Connect
