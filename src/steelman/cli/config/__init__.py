"""The configuration file of `steelman evaluate`: its keys are the options of the command line, and say the same.

A command calls `add` once it has all its options, and begins its run with `read`; `write` gives the file that says the
same as what was read. A new option needs one line in `KEYS`.
"""

from steelman.cli.config.keys import KEYS, Key
from steelman.cli.config.kinds import Kind
from steelman.cli.config.reading import add, read
from steelman.cli.config.writing import write

__all__ = ["KEYS", "Key", "Kind", "add", "read", "write"]
