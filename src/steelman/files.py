"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from steelman.errors import InputError


def put_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, making its folder.

    Raises InputError if the folder or the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        if partial.exists():
            partial.unlink()
        raise InputError(f"expected to write {path}, but {error.strerror or error}: choose another place") from None


def writable(folder: Path) -> None:
    """Makes a folder and checks, before any work, that it can be written.

    Raises InputError if it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"expected a folder that can be written at {folder}, but {error.strerror}: choose another --out"
        ) from None
