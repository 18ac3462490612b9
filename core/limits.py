"""What one uploaded file may hold, where the settings do not say otherwise; lengths of texts."""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 5000
MAX_PAGE_PIXELS: Final = 50_000_000
MAX_UNPACKED_BYTES: Final = 4 << 30  # of a ZIP

# Characters of texts that a person writes.
MAX_NAME: Final = 200
MAX_NOTE: Final = 500
MAX_VALUE: Final = 200  # of a field: the longest legal value has 64 digits
MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 200
