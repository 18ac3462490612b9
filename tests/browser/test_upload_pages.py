"""Uploading in Chromium: a server that starts anew in the middle, going on later, the camera."""

from __future__ import annotations

import os
import signal
import urllib.parse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.api_under_test import Api, png
from tests.browser.pages import PHONE, SignIn, check_page
from tests.running_api import Running, running_api, start_server
from tests.waiting import eventually


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 200 files, which are sent in four groups."""
    folder = tmp_path_factory.mktemp("many") / "scans"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03d}.png").write_bytes(png(number, width=200, height=150))
    return folder


@pytest.fixture
def own_server(started: Running, tmp_path: Path) -> Any:
    """A server that a test may kill, over the database of the others."""
    with running_api(started.api.settings.model_copy(update={"home": tmp_path})) as running:
        yield running.with_new_tenant()


@pytest.fixture
def files(api: Api) -> Any:
    def found() -> list[str]:
        batches = api.items("/v1/batches")
        return [
            document["filename"]
            for batch in batches
            for document in api.items(f"/v1/batches/{batch['id']}/documents")
        ]

    return found


class TestWithAServerOfItsOwn:
    @pytest.fixture
    def server(self, own_server: Running) -> Running:
        return own_server

    def test_the_server_starts_anew_in_the_middle(
        self, server: Running, api: Api, sign_in: SignIn, scans: Path, files: Any, tmp_path: Path
    ) -> None:
        page = sign_in()
        page.goto("/upload")
        page.get_by_label("Or a whole folder").set_input_files(scans)
        page.get_by_label("Name of the batch").fill("Interrupted")
        page.get_by_role("button", name="Upload").click()
        eventually("the first group is there", lambda: len(files()) > 0)
        os.kill(server.worker, signal.SIGKILL)
        server.process.kill()
        server.process.wait()
        expect(page.locator("#said")).to_contain_text("It is tried again")
        assert len(files()) < 200
        port = urllib.parse.urlsplit(server.url).port or 0
        with (tmp_path / "second.log").open("wb") as output:
            second = start_server(api.settings, output, port)
            try:
                expect(page.get_by_role("heading", name="Interrupted")).to_be_visible()
            finally:
                second.terminate()
                second.wait(20)
        (batch,) = api.items("/v1/batches")
        assert sorted(files()) == [f"scans/{number:03d}.png" for number in range(200)]
        assert batch["closed"]


def test_an_upload_goes_on_later(api: Api, sign_in: SignIn, scans: Path, files: Any) -> None:
    some = sorted(scans.iterdir())[:60]
    batch = api.upload(
        [(f"scans/{path.name}", path.read_bytes()) for path in some], keep_open="true", name="Half"
    ).json()
    page = sign_in()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(f"/batches/{batch['id']}")
    page.get_by_role("link", name="Go on with the upload").click()
    check_page(page, 1280)
    expect(page.get_by_text("60 files are there")).to_be_visible()
    page.get_by_label("Or a whole folder").set_input_files(scans)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="Half", exact=True)).to_be_visible()
    assert len(files()) == 200
    assert sum(url.endswith("/upload") for url in sent) == 3, "140 files, 50 a request"
    assert api.get(f"/v1/batches/{batch['id']}").json()["closed"]
    page.goto(f"/upload?batch={batch['id']}")
    expect(page.get_by_text("This upload is complete.")).to_be_visible()


@pytest.mark.parametrize("sheet", [True, False])
def test_the_sheet_is_found_on_a_photograph(
    api: Api, sign_in: SignIn, tmp_path: Path, files: Any, sheet: bool
) -> None:
    photo = np.full((900, 1200), 90, np.uint8)
    if sheet:
        corners = np.array([[200, 150], [1010, 170], [1000, 760], [190, 740]], np.int32)
        cv2.fillPoly(photo, [corners], 235)
    (tmp_path / "image.jpg").write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
    page = sign_in(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto("/upload")
    camera = page.get_by_label("Or take photographs")
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files(tmp_path / "image.jpg")
    found = "This is the sheet" if sheet else "No edge of a sheet"
    expect(page.locator("#photo-said")).to_contain_text(found)
    expect(page.locator("#photo polygon")).to_have_count(int(sheet))
    check_page(page)
    page.get_by_role("button", name="Use it").click()
    camera.set_input_files(tmp_path / "image.jpg")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#chosen")).to_contain_text("2 files")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="Without a name")).to_be_visible()
    assert files() == ["photo-1.jpg", "photo-2.jpg"]
