"""Where what tests write is kept in memory: syncing it to a disk is what most of them wait for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")
ROOM_BYTES: Final = 4 << 30


def folder_in_memory() -> str | None:
    """Return such a folder if the machine has one with room enough."""
    if FOLDER.is_dir() and shutil.disk_usage(FOLDER).free >= ROOM_BYTES:
        return str(FOLDER)
    return None
