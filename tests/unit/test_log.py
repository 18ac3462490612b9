"""What the log says of an error, and what it must not say."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from core.log import configure_logging, get_logger


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _fail() -> None:
    password = "sec" + "ret-in-a-variable"
    raise ValueError(f"{len(password)} characters")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("of_structlog", [True, False])
def test_tracebacks_show_no_variables(
    as_json: bool, of_structlog: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", json=as_json)
    log = get_logger("a.module") if of_structlog else logging.getLogger("a.module")
    try:
        _fail()
    except ValueError:
        log.exception("it.failed")
    said = capsys.readouterr().err
    assert "it.failed" in said
    assert "ValueError: 20 characters" in said
    assert "Traceback (most recent call last)" in said
    assert "_fail" in said
    assert "secret-in-a-variable" not in said
    if as_json:
        (line,) = said.splitlines()
        assert json.loads(line)["level"] == "error"


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING")
    get_logger("a").info("quiet")
    get_logger("a").warning("loud", pages=3)
    said = capsys.readouterr().err
    assert "quiet" not in said
    assert "loud" in said
    assert "pages=3" in said
