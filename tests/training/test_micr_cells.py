"""What the network of the E-13B reader is trained on."""

from __future__ import annotations

import numpy as np

from pipeline.readers.micr import CLASSES, OTHER
from pipeline.readers.micr_line import CELL_COLUMNS, CELL_ROWS, has_ink
from training.micr.cells import render_cells


def test_rendered_cells_are_of_all_classes_inked_and_repeat_by_seed() -> None:
    cells = render_cells(6, seed=3)
    assert cells.images.shape == (len(cells), CELL_ROWS, CELL_COLUMNS)
    assert cells.images.dtype == np.uint8
    assert set(cells.labels.tolist()) == set(range(len(CLASSES)))
    assert 0.1 < (cells.labels == CLASSES.index(OTHER)).mean() < 0.6
    assert has_ink(cells.images).all()
    again = render_cells(6, seed=3)
    assert (again.images == cells.images).all()
    assert (again.labels == cells.labels).all()
