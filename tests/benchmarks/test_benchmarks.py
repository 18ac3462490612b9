"""The parts of the benchmark that could be wrong without anybody noticing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.processes import MemoryWatch, cpu_seconds, tree
from benchmarks.readers import Item, read_all
from benchmarks.report import Section, markdown, share
from benchmarks.samples import cheques, numbered, write_cheques
from pipeline.files.page import decode_page


def test_copies_differ_in_their_bytes_and_not_in_their_pixels() -> None:
    jpeg = cheques()[0].image
    first, second = numbered(jpeg, 1), numbered(jpeg, 2)
    assert len({jpeg, first, second}) == 3
    assert np.array_equal(decode_page(first).grey, decode_page(jpeg).grey)


def test_cheques_are_written_with_their_truth(tmp_path: Path) -> None:
    truth = write_cheques(tmp_path, 8)
    assert sorted(truth) == sorted(path.name for path in tmp_path.iterdir())
    assert truth["cheque-00000.jpg"] == truth["cheque-00006.jpg"], "six kinds"
    assert set(truth["cheque-00001.jpg"]) == {"date", "amount", "account"}
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 8


def test_only_digits_are_compared(tmp_path: Path) -> None:
    items = [Item(tmp_path, "2250"), Item(tmp_path, "12"), Item(tmp_path, "7")]
    answers = [("R$ 2.250", 3.0), ("1 3", 1.0), ("7\n", None)]
    found = read_all(lambda _: iter(answers), items, lambda done, count: None)
    assert (found["right"], found["count"], found["milliseconds"]) == (2, 3, 2.0)
    assert found["low"] < 2 / 3 < found["high"]


def test_this_process_is_seen() -> None:
    assert tree(os.getpid())[0] == os.getpid()
    assert cpu_seconds(os.getpid()) > 0
    with MemoryWatch(lambda: [os.getpid()]) as watch:
        pass
    assert watch.most.rss >= watch.most.pss > 10


def test_a_report_names_its_command_and_machine() -> None:
    section = Section("Speed", ("page", "ms"), (("cheque", "12.0"),), {"ms": 12.0}, ("Median.",))
    about = {
        "processor": "Z80",
        "cores": 1,
        "python": "3.11",
        "date": "2026-01-02",
        "weights": "ab" * 32,
        "load_before": 0.1,
    }
    text = markdown("python -m benchmarks pipeline", about, [section])
    assert "`python -m benchmarks pipeline`" in text
    assert "| cheque | 12.0 |" in text
    assert share(9, 10, (0.596, 0.982)) == "9/10 = 90.0 % (59.6 to 98.2 %)"


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["velocity"])
    assert "velocity" in capsys.readouterr().err
