"""The line of every key of a TOML text."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from steelman.spec.lines import lines

KEY = st.sampled_from(["a", "b-1", "3", '"q.=[#"', "'l\"'", '"\\u0061\\""'])
VALUE = st.sampled_from(
    [
        *(
            "1.5",
            "true",
            "1979-05-27T07:32:00.5Z",
            "-inf",
            '"]#=\\""',
            "'\\'",
            '""',
            "''",
            "[]",
            "{}",
            "[1, [\n# ]\n'x,]'], ]",
        ),
        *(
            '"""a\n[b]\nc = 1 \\""" "\n"""',
            "'''\n[z]\n'''",
            '""""q""""',
            "'''''q'''''",
            '{ x.y = 1, z = [\'"\', "}"] }',
        ),
        *("[{ u = 1 }, 2]", '"""\\\n   x"""'),
    ]
)


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.lists(KEY, min_size=1, max_size=3), VALUE, st.sampled_from(["", " # [x] '\"", "\n\n"])
        )
    )
)
def test_lines_are_those_that_the_keys_were_written_on(parts: list[tuple[bool, list[str], str, str]]) -> None:
    """What is written goes on only while it is TOML, so that every text tried is one."""
    text, expected, table = "", {}, ()
    for header, keys, value, after in parts:
        names = tuple(next(iter(tomllib.loads(f"{key} = 1"))) for key in keys)
        added = (f"[ {' . '.join(keys)} ]" if header else f"{'.'.join(keys)} = {value}") + after + "\n"
        try:
            tomllib.loads(text + added)
        except tomllib.TOMLDecodeError:
            continue
        line, text = text.count("\n") + 1, text + added
        whole = names if header else (*table, *names)
        for n in range(1, len(whole) + 1):
            expected.setdefault(whole[:n], line)
        if header:
            table = names
        elif value.startswith("{ x"):
            for inner in (("x",), ("x", "y"), ("z",)):
                expected.setdefault((*whole, *inner), line)
        elif value.startswith("[{"):
            expected.setdefault((*whole, "u"), line)
    assert lines(text) == expected
    assert lines(text.replace("\n", "\r\n")) == expected
