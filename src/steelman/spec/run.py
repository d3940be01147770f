"""A run as one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from steelman.spec.parts import Parts
from steelman.spec.reading import read
from steelman.spec.writing import write


class RunSpec(Parts):
    """A run as one value: the command line, --set, a TOML file and a report's own file say the same one.

    data: which images.  pipeline: which classifier, with what around it.  attacks: what is tried.  run: how it goes.
    """

    @classmethod
    def read(
        cls,
        file: Path | None = None,
        said: Mapping[str, Any] | None = None,
        words: Iterable[str] = (),
        *,
        usual: Mapping[str, Any] | None = None,
        trust_code: bool = False,
    ) -> Self:
        """Returns the run that these say, the later over the earlier.

        said: options of the command line by their keys.  words: of --set.
        usual: the options of a command with its own defaults; --set then says no others.
        trust_code: whether the file may name code outside of steelman, which then runs.
        Raises InputError, with the place, for whatever is wrong.
        """
        return read(cls, file, said or {}, words, usual=usual or {}, trust_code=trust_code)

    @classmethod
    def from_toml(cls, path: Path | str, *, trust_code: bool = False) -> Self:
        """Returns the run that a file says; its relative paths are relative to it.

        trust_code, errors: as `read` has them.
        """
        return cls.read(Path(path), trust_code=trust_code)

    def to_toml(self, folder: Path | None = None) -> str:
        """Returns the file that says this run, the defaults too.

        folder: where the file will stand, to which its relative paths are relative; the current one unless told.
        """
        return write(self, folder or Path())
