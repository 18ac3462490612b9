"""`counterfoil up`: the whole system on one machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import datetime
from types import FrameType

from cli.local.stack import KEY_FILE, Stack
from core.settings import Settings


class _StopRequested(BaseException):
    """SIGTERM or Ctrl-C. It is not an Exception, so that no handler on the way swallows it."""


def run_stack(settings: Settings) -> None:
    """Run until Ctrl-C or SIGTERM, then stop everything.

    Raises ConfigError or ConflictError if the system cannot start.
    """
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Only once: a second Ctrl-C must not interrupt the orderly stop.
        if not stopping.is_set():
            stopping.set()
            raise _StopRequested

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    _say(f"Counterfoil is starting in {settings.home}")
    try:
        with Stack(settings, report=_say) as stack:
            _say(_where(stack))
            while True:
                signal.pause()
    except _StopRequested:
        _say("Counterfoil has stopped.")


def _where(stack: Stack) -> str:
    from db.session import url_without_password

    settings = stack.settings
    home = settings.home
    objects = settings.s3_endpoint or "S3" if settings.s3_bucket else home / "objects"
    database = url_without_password(settings.resolved_database_url())
    return "\n".join(
        [
            "Counterfoil is up. Open this address in a browser; it signs you in, once:",
            "",
            f"  {stack.sign_in_url()}",
            "",
            f"  API        {stack.url}   (documentation: {stack.url}/docs)",
            f"  API key    {home / KEY_FILE}",
            f"  database   {database}",
            f"  objects    {objects}",
            f"  logs       {stack.logs}",
            f"  workers    {settings.workers}",
            "",
            f"  Again      counterfoil sign-in --url {stack.url} --data {home}",
            f"  Submit     counterfoil submit --url {stack.url} --data {home} --wait FOLDER",
            "  Stop       Ctrl-C",
        ]
    )


def _say(line: str) -> None:
    stamp = datetime.now().astimezone().strftime("%H:%M:%S")
    print(f"{stamp}  {line}", file=sys.stderr, flush=True)
