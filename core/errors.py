"""The errors that Counterfoil raises on purpose.

    CounterfoilError
    ├── InputError          the bytes are bad: recorded, shown to the user, never retried
    │   └── TemplateError   a template file is wrong, or a page does not fit its template
    ├── NotFoundError       it does not exist, or belongs to another tenant (never told apart)
    ├── ConflictError       its present state does not allow this
    │   └── ChangedError    somebody has changed it since the caller saw it
    ├── TransientError      a service is away, slow or full: retried with backoff and a cap
    └── ConfigError         Counterfoil cannot start, or continue, with its present set-up

`storage.base` has five more specific ones for the object store.

A message is a sentence for the person who reads it; `hint` says what to do next; `code` is
stable, for machines (`/problems/<code>` in the API, `error_code` in the database).
"""

from __future__ import annotations

from typing import ClassVar


class CounterfoilError(Exception):
    """Base of the tree. `exit_code` is the exit status of the command line."""

    default_code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def __reduce__(self) -> tuple[object, ...]:
        # Errors pass between processes, and the default pickling loses keyword arguments.
        return (_rebuild, (type(self), self.message, self.hint, self.code))

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def _rebuild(kind: type[CounterfoilError], message: str, hint: str, code: str) -> CounterfoilError:
    return kind(message, hint=hint, code=code)


class InputError(CounterfoilError):
    default_code = "bad-input"
    exit_code = 3


class TemplateError(InputError):
    default_code = "bad-template"


class NotFoundError(CounterfoilError):
    default_code = "not-found"
    exit_code = 4


class ConflictError(CounterfoilError):
    default_code = "conflict"
    exit_code = 5


class ChangedError(ConflictError):
    default_code = "changed"


class TransientError(CounterfoilError):
    default_code = "temporarily-unavailable"
    exit_code = 6


class ConfigError(CounterfoilError):
    default_code = "bad-configuration"
    exit_code = 2
