"""The guarded decoder: whatever happens to the child, the parent gets pages or plain words."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
import sys
import termios
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from core.errors import InputError
from core.settings import Settings
from pipeline.files.documents import DocumentLimits, DocumentPage, open_document
from tests.processes import children_of, command_line
from tests.waiting import eventually
from worker.guard.opener import DocumentOpener

MEMORY = 2 << 30
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "worker.guard.program"


def noise(seed: int, side: int = 500) -> PIL.Image.Image:
    """A picture that does not compress: its PNG of 250 kB is larger than the buffer of a pipe."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    return PIL.Image.fromarray(values)


def tiff(frames: int, side: int = 500, **options: Any) -> bytes:
    stream = io.BytesIO()
    first, *others = (noise(seed, side) for seed in range(frames))
    first.save(stream, "TIFF", save_all=True, append_images=others, **options)
    return stream.getvalue()


def written(folder: Path, data: bytes) -> Path:
    path = folder / "document"
    path.write_bytes(data)
    return path


@pytest.fixture
def opener() -> Iterator[DocumentOpener]:
    with DocumentOpener(DocumentLimits(), 60, MEMORY) as opener:
        yield opener


def guarded_child(parent: int) -> int:
    """Return the process id of the one guarded decoder that `parent` runs."""
    (pid,) = [pid for pid in children_of(parent) if PROGRAM in command_line(pid) and not gone(pid)]
    return pid


def child() -> int:
    return guarded_child(os.getpid())


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def stopped(pid: int) -> bool:
    return "State:\tT" in Path(f"/proc/{pid}/status").read_text()


def waiting() -> int:
    """Return how many bytes the child has written that the parent has not read."""
    folder = Path(f"/proc/{child()}/fd")
    # Its output is the pipe that is not its standard input; the number of the descriptor varies.
    (written,) = {
        str(path.readlink()): path
        for path in folder.iterdir()
        if str(path.readlink()).startswith("pipe:") and path.readlink() != (folder / "0").readlink()
    }.values()
    pipe = os.open(written, os.O_RDONLY | os.O_NONBLOCK)
    try:
        count = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    finally:
        os.close(pipe)
    return int.from_bytes(count, sys.byteorder)


def test_pages_are_those_of_the_pipeline(opener: DocumentOpener, tmp_path: Path) -> None:
    path = written(tmp_path, tiff(3))
    assert list(opener.open(path)) == list(open_document(path, DocumentLimits()))


def test_one_child_serves_many_documents(opener: DocumentOpener, tmp_path: Path) -> None:
    path = written(tmp_path, tiff(1))
    list(opener.open(path))
    first = child()
    with pytest.raises(InputError, match="not an image"):
        list(opener.open(written(tmp_path, b"not a scan")))
    list(opener.open(written(tmp_path, tiff(2))))
    assert child() == first


def test_error_of_the_document_keeps_code_and_hint(opener: DocumentOpener, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        list(opener.open(written(tmp_path, b"")))
    assert error.value.code == "empty-file"
    assert "Accepted: JPEG, PNG, TIFF, PDF" in error.value.hint


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_child_killed_from_outside_costs_nothing(
    opener: DocumentOpener, tmp_path: Path, sign: signal.Signals
) -> None:
    whole = list(open_document(written(tmp_path, tiff(5)), DocumentLimits()))
    pages = opener.open(tmp_path / "document")
    seen = [next(pages)]
    os.kill(child(), sign)
    seen += pages
    assert seen == whole


DEADLY = """
import os, pipeline.files.tiff as tiff
survived = tiff.decode_frame
def decode_frame(image, *others):
    if image.info.get("dpi", (0, 0))[0] == 13:
        os.kill(os.getpid(), {sign})
    return survived(image, *others)
tiff.decode_frame = decode_frame
"""


@pytest.fixture
def deadly_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make every decoder that starts from now on die when it meets a frame of 13 dots per inch."""

    def plant(sign: int) -> None:
        folder = tmp_path / "plugin"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(DEADLY.format(sign=int(sign)))
        monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")

    return plant


def deadly_tiff() -> bytes:
    stream = io.BytesIO()
    noise(0).save(stream, "TIFF", dpi=(13, 13))
    return stream.getvalue()


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGABRT])
def test_a_frame_that_kills_its_decoder_costs_that_frame_only(
    opener: DocumentOpener,
    tmp_path: Path,
    sign: signal.Signals,
    deadly_frames: Callable[[int], None],
) -> None:
    deadly_frames(sign)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in (("a", tiff(2)), ("b", deadly_tiff()), ("c", tiff(2))):
            archive.writestr(f"{name}.tif", data)
    pages = list(opener.open(written(tmp_path, stream.getvalue())))
    assert [(page.label, page.error.code if page.error else "ok") for page in pages] == [
        ("a.tif#1", "ok"),
        ("a.tif#2", "ok"),
        ("b.tif", "decoder-crashed"),
        ("c.tif#1", "ok"),
        ("c.tif#2", "ok"),
    ]
    assert sign.name in str(pages[2].error)


def test_a_zip_of_many_deadly_files_is_given_up(
    opener: DocumentOpener,
    tmp_path: Path,
    deadly_frames: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadly_frames(signal.SIGKILL)
    monkeypatch.setattr("worker.guard.opener.DEATHS_PER_DOCUMENT", 3)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.tif", deadly_tiff())
    with pytest.raises(InputError) as error:
        list(opener.open(written(tmp_path, stream.getvalue())))
    assert error.value.code == "decoder-crashed"


def test_opener_works_on_after_a_death_between_documents(
    opener: DocumentOpener, tmp_path: Path
) -> None:
    path = written(tmp_path, tiff(1))
    assert len(list(opener.open(path))) == 1
    pid = child()
    os.kill(pid, signal.SIGKILL)
    eventually("it is gone", lambda: gone(pid))
    assert len(list(opener.open(path))) == 1


def test_slow_page_is_stopped_and_said_to_be_slow(tmp_path: Path) -> None:
    path = written(tmp_path, tiff(2))
    # Long enough for a busy machine to start the child and to make the first page.
    with DocumentOpener(DocumentLimits(), 8.0, MEMORY) as opener:
        pages = opener.open(path)
        seen = [next(pages)]
        assert seen[0].error is None
        # A stopped child is as slow as a decoder can be. Stop it in the middle of the second page:
        # earlier, no page would be to blame; later, the whole page would have come through.
        pid = child()
        eventually("its pipe fills", lambda: waiting() > 20_000)
        os.kill(pid, signal.SIGSTOP)
        eventually("it is stopped", lambda: stopped(pid))
        seen += pages
        assert seen[1].error is not None
        assert seen[1].error.code == "decoder-too-slow"
        assert "longer than 8 seconds" in str(seen[1].error)
        assert gone(pid)


def test_page_that_needs_too_much_memory_is_an_error_and_the_next_goes_on(tmp_path: Path) -> None:
    stream = io.BytesIO()
    large = PIL.Image.new("RGB", (7000, 7000))
    large.save(
        stream, "TIFF", save_all=True, append_images=[noise(1)], compression="tiff_adobe_deflate"
    )
    path = written(tmp_path, stream.getvalue())
    # The program itself takes some 350 MiB of address space.
    with DocumentOpener(DocumentLimits(), 60, 500 << 20) as opener:
        first, second = opener.open(path)
    assert first.error is not None
    assert first.error.code == "decoder-too-much-memory"
    assert second.error is None
    assert second.data is not None


def test_child_that_cannot_even_start_is_an_error(tmp_path: Path) -> None:
    with (
        DocumentOpener(DocumentLimits(), 60, 1 << 20) as opener,
        pytest.raises(InputError) as error,
    ):
        list(opener.open(written(tmp_path, tiff(1))))
    assert error.value.code in ("decoder-crashed", "decoder-too-much-memory")


def test_whoever_stops_half_way_gets_a_fresh_start(opener: DocumentOpener, tmp_path: Path) -> None:
    path = written(tmp_path, tiff(3))
    pages = opener.open(path)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert len(list(opener.open(path))) == 3


def test_no_more_than_a_page_is_made_ahead(opener: DocumentOpener, tmp_path: Path) -> None:
    pages = opener.open(written(tmp_path, tiff(8, side=1500)))
    next(pages)
    status = Path(f"/proc/{child()}/status").read_text()
    held = int(status.split("VmRSS:")[1].split()[0])
    assert held < 150_000  # kB; a page takes 2 MB, and its frame another 2 MB
    assert len(list(pages)) == 7


def test_too_many_pages_in_all(tmp_path: Path) -> None:
    path = written(tmp_path, tiff(4))
    with (
        DocumentOpener(DocumentLimits(max_pages=3), 60, MEMORY) as opener,
        pytest.raises(InputError) as error,
    ):
        list(opener.open(path))
    assert error.value.code == "too-many-pages"


def test_child_inherits_no_secrets(
    opener: DocumentOpener, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERFOIL_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    list(opener.open(written(tmp_path, tiff(1))))
    assert b"hunter2" not in Path(f"/proc/{child()}/environ").read_bytes()


def test_child_ends_with_its_parent_even_in_the_middle_of_a_page(tmp_path: Path) -> None:
    path = written(tmp_path, tiff(3))
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pipeline.files.documents import DocumentLimits\n"
        "from worker.guard.opener import DocumentOpener\n"
        "opener = DocumentOpener(DocumentLimits(), 60, 2 << 30)\n"
        f"pages = opener.open(Path({str(path)!r}))\n"
        "next(pages)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        pid = guarded_child(parent.pid)
        parent.kill()
    eventually("it is gone", lambda: gone(pid))


def test_settings_are_taken_over(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, max_pages_per_document=1)
    path = written(tmp_path, tiff(2))
    with DocumentOpener.from_settings(settings) as opener, pytest.raises(InputError):
        list[DocumentPage](opener.open(path))
