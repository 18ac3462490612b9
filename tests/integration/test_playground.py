"""The playground starts, answers, and opens no connection to the outside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from cli.playground import ONE_NUMBER, look, page_of_drawing
from core.errors import InputError
from pipeline.files.page import decode_page
from pipeline.readers.loaded import load_readers

SAMPLES = Path(__file__).parents[2] / "demo" / "samples"
LOCAL = re.compile(r"https?://(127\.0\.0\.1|localhost|www\.w3\.org|\[?::1)")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a playground in a process of its own that cannot connect to other machines."""
    code = (
        "import socket, sys\n"
        "real = socket.socket.connect\n"
        "def connect(self, address):\n"
        "    if self.family != socket.AF_UNIX and address[0] not in ('127.0.0.1', '::1'):\n"
        "        print('CALLS OUT', address, flush=True)\n"
        "        raise OSError('no network here')\n"
        "    return real(self, address)\n"
        "socket.socket.connect = connect\n"
        "from cli.playground import serve\n"
        "serve('127.0.0.1', 0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://\S+", line):
            yield found.group().rstrip("/")
            break
    else:
        pytest.fail("".join(said))
    process.terminate()
    rest, _ = process.communicate()
    assert "CALLS OUT" not in "".join(said) + rest


def call(url: str, name: str, *arguments: Any) -> list[Any]:
    """Call an event of the page in the way that its JavaScript does."""
    with httpx.Client(timeout=60) as client:
        event = client.post(f"{url}/gradio_api/call/{name}", json={"data": list(arguments)})
        answer = client.get(f"{url}/gradio_api/call/{name}/{event.json()['event_id']}").text
    kind, data = re.findall(r"event: (\w+)\ndata: (.*)", answer)[-1]
    assert kind == "complete", answer
    result: list[Any] = json.loads(data)
    return result


def upload(url: str, name: str, data: bytes) -> dict[str, Any]:
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": (name, data)})
    return {
        "path": answer.json()[0],
        "orig_name": name,
        "meta": {"_type": "gradio.FileData"},
    }


def test_the_page_comes_and_asks_nothing_of_other_hosts(url: str) -> None:
    page = httpx.get(url).text
    assert "Counterfoil playground" in page
    config = httpx.get(f"{url}/config").json()
    assert config["analytics_enabled"] is False
    theme = httpx.get(f"{url}/theme.css").text
    assert [
        found for found in re.findall(r"https?://[^\"'\s)]+", theme) if not LOCAL.match(found)
    ] == []


def test_an_uploaded_number_is_read(url: str) -> None:
    page = decode_page((SAMPLES / "cheque-2.jpg").read_bytes()).grey
    amount = cv2.imencode(".png", page[305:372, 1190:1520])[1].tobytes()
    ink, marked, fields, glyphs = call(
        url, "read_upload", upload(url, "a.png", amount), ONE_NUMBER, "digits(1,7)"
    )
    assert fields["data"][0][:2] == ["strip", "3551"]
    assert [row[2] for row in glyphs["data"]] == list("3551")
    for picture in (ink, marked):
        image = httpx.get(f"{url}/gradio_api/file={picture['path']}")
        assert image.headers["content-type"] == "image/png"


def test_a_page_with_a_template_is_read(url: str) -> None:
    file = upload(url, "cheque-2.jpg", (SAMPLES / "cheque-2.jpg").read_bytes())
    _, _, fields, _ = call(url, "read_upload", file, "demo-cheque", "digits")
    assert [row[0] for row in fields["data"]] == ["date", "amount", "account"]


def test_a_drawing_is_flattened_onto_white() -> None:
    drawing = np.zeros((60, 200, 4), np.uint8)
    # A 1; elsewhere transparent.
    cv2.line(drawing, (115, 10), (85, 50), (16, 24, 64, 255), 8)
    page = page_of_drawing(drawing)
    assert page.grey[0, 0] == 255
    assert page.grey[30, 99] < 64
    seen = look(page, ONE_NUMBER, "digits", load_readers())
    assert [row[1] for row in seen.fields] == ["1"]
    assert seen.ink[30, 99] == 0
    assert len(seen.glyphs) == 1


def test_what_cannot_be_read_is_said_in_words() -> None:
    page = decode_page((SAMPLES / "cheque-1.jpg").read_bytes())
    readers = load_readers()
    with pytest.raises(InputError, match="demo-form"):
        look(page, "demo-form", "digits", readers)
    with pytest.raises(InputError, match="digit"):
        look(page, ONE_NUMBER, "digts", readers)


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import playground
    from core.errors import ConfigError

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match="playground"):
        playground.build(load_readers())
