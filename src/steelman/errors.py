"""What steelman says when its user handed it something wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's mistake: says what was expected, what came and the way out.

    The command line prints it as one line and exits with 2; anything else that is raised is a defect of steelman.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Returns the error for a name that is not in a catalogue, with the nearest names.

    kind: what is named, as in "attack".  name: what came.  known: the names there are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}" if names else "it has none"
    return InputError(f"expected the name of {_article(kind)} {kind}, got {name!r}: {hint}")


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
