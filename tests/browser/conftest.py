"""One server of the pages for all tests in Chromium, and one Chromium for those of a file.

Not one for all: as long as it runs, no test of this process can run an event loop.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.settings import Settings
from tests.api_under_test import Api
from tests.browser.pages import SignIn
from tests.conftest import missing
from tests.running_api import Running, running_api

expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        missing("no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def started(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("web")
    database = shutil.copyfile(migrated_sqlite, home / "counterfoil.sqlite3")
    with running_api(Settings(home=home, database_url=f"sqlite:///{database}")) as running:
        yield running


@pytest.fixture
def server(started: Running) -> Running:
    return started.with_new_tenant()


@pytest.fixture
def api(server: Running) -> Api:
    return server.api


@pytest.fixture
def address(server: Running) -> str:
    return server.url


@pytest.fixture
def sign_in(chromium: Browser, api: Api, address: str) -> Iterator[SignIn]:
    """Open a page in which a person is signed in. No script may fail or be refused on any."""
    faults: list[str] = []

    def opened(name: str = "Ada", **options: Any) -> Page:
        page = chromium.new_context(base_url=address, **options).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: "Policy" in said.text and faults.append(said.text))
        page.goto(api.sign_in_link(f"{name} {api.tenant}"))
        return page

    yield opened
    assert faults == []
