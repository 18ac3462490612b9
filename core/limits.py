"""What one uploaded file may hold, where the settings do not say otherwise."""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 5000
MAX_PAGE_PIXELS: Final = 50_000_000
MAX_UNPACKED_BYTES: Final = 4 << 30  # of a ZIP
