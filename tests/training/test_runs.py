"""The settings that all training runs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from training import runs


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("fpu avx2 avx512f avx512_bf16", "mixed_bfloat16"),
        ("fpu avx2 amx_bf16 amx_tile", "mixed_bfloat16"),
        ("fpu avx2 avx512f", "float32"),  # TensorFlow would emulate bfloat16
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_in_it(
    tmp_path: Path, flags: str, precision: str
) -> None:
    about = tmp_path / "cpuinfo"
    about.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 4890.80\n")
    assert runs.fastest_precision(about) == precision


def test_a_system_that_does_not_tell_its_processor(tmp_path: Path) -> None:
    assert runs.fastest_precision(tmp_path / "missing") == "float32"


def test_the_command_names_what_the_machine_chose() -> None:
    @dataclass(frozen=True)
    class Run:
        data: Path
        out: Path
        seed: int = 1
        precision: str = field(default_factory=runs.fastest_precision)

    command = runs.command_of(Run(Path("a"), Path("b"), precision="float32"), "train")
    assert command == "train --data DIR --out DIR --precision float32"
