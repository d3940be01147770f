"""The configuration file: what a command line says, and every mistake in it with its line."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelman.cli import config
from steelman.cli.config.lines import lines
from steelman.cli.main import parser
from steelman.errors import InputError


@pytest.fixture(autouse=True)
def in_a_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep").mkdir()
    for name in ("own.npz", "w.safetensors", "deep/own.npz"):
        Path(name).touch()


PARSER = parser()


def options(*words: object) -> argparse.Namespace:
    """What a command line says, its file included."""
    return config.read(PARSER.parse_args(["evaluate", *map(str, words)]))


def filed(text: str, *words: object, at: str = "run.toml") -> argparse.Namespace:
    """The same, with this file in front."""
    Path(at).write_text(text, encoding="utf-8")
    return options(at, *words)


def evaluate() -> argparse.ArgumentParser:
    """The parser of the command alone."""
    (commands,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices["evaluate"]


def test_every_option_has_one_key_and_every_key_is_an_option() -> None:
    own = {action.option_strings[0] for action in evaluate()._actions if action.option_strings} - {
        "-h",
        "--fresh",
        "--check",
    }
    assert own == {key.option for key in config.KEYS.values()}
    plain = [key.option for key in config.KEYS.values() if not key.kind.table]
    assert len(set(plain)) == len(plain)
    assert {name for name, key in config.KEYS.items() if key.kind.table} == {"attack.settings", "defence.settings"}
    for action in evaluate()._actions:
        for key in config.KEYS.values():
            assert (key.option in action.option_strings) <= (key.dest == action.dest)


def test_a_file_and_a_command_line_say_the_same() -> None:
    text = """
        [data]
        name = "fashion-mnist"
        images = 10
        [model]
        name = "mnist/lenet"
        [attack]
        names = ["pgd", "mi-fgsm"]
        eps = [0.1, 1]
        norm = "L2"
        grid = true
        [attack.settings]
        momentum = 0.9
        [defence]
        name = "jpeg"
        settings = { quality = 50, gradient = "identity" }
        [run]
        seed = 3
    """
    line = (
        "--data fashion-mnist --images 10 --model mnist/lenet --attack pgd mi-fgsm --eps .1 1 --norm L2 --grid --seed 3"
    )
    line += " --set momentum=0.9 --defence jpeg:quality=50,gradient=identity"
    assert filed(text) == options(*line.split())


def test_an_empty_file_says_nothing() -> None:
    assert filed("") == filed("# nothing\n\n[attack]\n") == options()
    assert options().attack == ["standard"]
    assert options().out == Path("runs/evaluate")
    assert not vars(options()).keys() & {"usual", "file"}


def test_what_is_said_later_wins() -> None:
    text = "[attack]\neps = [0.1, 0.2]\nsteps = 7\nnames = 'bim'\n[data]\nimages = 9\n[run]\nout = 'here'"
    assert filed(text).eps == [0.1, 0.2]
    assert filed(text, "--eps", 0.3).eps == [0.3]
    assert filed(text, "--eps", 0.3, "--set", "attack.eps=0.4").eps == [0.4]
    assert filed(text, "--set", "attack.eps=0.4", "--eps", 0.3).eps == [0.4]
    left = filed(text, "--eps", 0.3)
    assert (left.steps, left.attack, left.images, left.norm) == (7, ["bim"], 9, "Linf")
    # what is said as it is by default is said nonetheless
    assert filed(text, "--images", 1000, "--out", "runs/evaluate", "--attack", "pgd").images == 1000
    assert filed("[attack]\ngrid = true", "--set", "attack.grid=false").grid is False


def test_another_defence_leaves_the_settings_of_the_one_before() -> None:
    text = "[defence]\nname = 'jpeg'\nsettings = { quality = 50 }"
    assert filed(text).defence == "jpeg:quality=50"
    assert filed(text, "--defence", "median").defence == "median"
    assert filed(text, "--defence", "median:size=3").defence == "median:size=3"
    assert filed(text, "--set", "defence.name=none").defence == "none"
    assert filed(text, "--set", "defence.settings.quality=5").defence == "jpeg:quality=5"


@pytest.mark.parametrize(
    ("word", "dest", "value"),
    [
        ("attack.eps=0.1", "eps", [0.1]),
        ("attack.eps=.1", "eps", [0.1]),
        ("attack.eps=[0.1, 1]", "eps", [0.1, 1.0]),
        ("attack.names=fgsm", "attack", ["fgsm"]),
        ('attack.names="fgsm"', "attack", ["fgsm"]),
        ('attack.names=["fgsm", "pgd"]', "attack", ["fgsm", "pgd"]),
        ("attack.grid=true", "grid", True),
        ("attack.steps=3", "steps", 3),
        ("steps=3", "steps", 3),
        ("attack.settings={restarts2 = 1}", "", None),
        ("run.out=2024", "out", Path("2024")),
        ("run.out=a=b", "out", Path("a=b")),
        ("model.name=package:true", "model", "package:true"),
        ("start=none", "", None),
    ],
)
def test_set_takes_toml_or_a_word(word: str, dest: str, value: object) -> None:
    if dest:
        assert getattr(options("--attack", "pgd", "--set", word), dest) == value
    else:
        with pytest.raises(InputError, match=r"--set .*: expected the name of a setting of pgd"):
            options("--attack", "pgd", "--set", word)


def test_a_bare_name_is_a_setting_of_the_attack() -> None:
    words = ("--attack", "square", "--set", "p=0.5", "resc_schedule=false")
    with pytest.raises(InputError, match="setting of square, got 'resc_schedule'"):
        options(*words)
    assert options("--attack", "mi-fgsm", "--set", "momentum=0.5").set == ["momentum=0.5"]
    assert options("--attack", "mi-fgsm", "--set", "attack.settings.momentum=.5").set == ["momentum=0.5"]
    assert options("--attack", "mi-fgsm", "--set", "momentum=1", "--set", "attack.eps=1").set == ["momentum=1"]


def test_paths_of_a_file_are_relative_to_it() -> None:
    text = "[data]\nname = 'own.npz'\n[model]\nname = 'm:f'\nweights = '../w.safetensors'\n[run]\nout = 'e'\n"
    found = filed(text + "[defence]\nname = '../w.safetensors'\ndetector = 'own.npz'", at="deep/run.toml")
    assert found.data == str(Path("deep/own.npz"))
    assert found.weights == Path("deep/../w.safetensors")
    assert found.defence == str(Path("deep/../w.safetensors"))
    assert found.detector == str(Path("deep/own.npz"))
    assert found.out == Path("deep/e")
    assert found.model == "m:f"
    # a name goes before a path, and what is said beside the file is said from here
    Path("deep/mnist").mkdir()
    beside = filed("[data]\nname = 'mnist'", "--out", "e", "--set", "model.weights=w", at="deep/run.toml")
    assert (beside.data, beside.out, beside.weights) == ("mnist", Path("e"), Path("w"))


SWITCHES = ("--certify", "--curve", "--checks")
SAID = {
    "--data": st.sampled_from(["mnist", "fashion-mnist", "own.npz", "deep"]),
    "--images": st.integers(0, 10**6),
    "--model": st.sampled_from(["mnist/cnn", "resnet18", "package.module:factory"]),
    "--weights": st.sampled_from(["w.safetensors", "deep/not there", "/absent/ü \"'\\.st"]),
    "--device": st.sampled_from(["cpu", "cuda:1", "auto"]),
    "--defence": st.sampled_from(["unet", "mnist/unet", "none", "w.safetensors", "jpeg", "jpeg:quality=50"])
    | st.sampled_from(["jpeg:quality=7,gradient=identity", "total-variation:weight=1e-05,drop=0.5", "median:size=3"]),
    "--detector": st.sampled_from(["mnist/combined", "w.safetensors"]),
    "--fpr": st.floats(1e-9, 0.999),
    "--attack": st.lists(st.sampled_from(["pgd", "fgsm", "ddn", "gama-fw"]), min_size=1),
    "--eps": st.lists(st.floats(0, 1e6), min_size=1),
    "--norm": st.sampled_from(["Linf", "L2", "L1", "L0"]),
    "--steps": st.integers(1, 10**9),
    "--size": st.floats(1e-9, 1e9),
    "--restarts": st.integers(1, 10**9),
    "--queries": st.integers(1, 10**9),
    "--surrogate": st.sampled_from(["mnist/lenet", "package.module:factory"]),
    "--grid": st.just([]),
    "--batch": st.integers(1, 10**9),
    "--each": st.just([]),
    **{name: st.just([]) for name in SWITCHES},
    "--seed": st.integers(-(2**63), 2**63 - 1),
    "--out": st.sampled_from(["runs/e", ".", 'a b/#c = ["d"]']),
    "--set": st.sampled_from(
        ["momentum=0.5", "momentum=none", "momentum=true", "momentum=1e-07", "momentum=a,b", "momentum=[1, 2]"]
    ),
}
"""For each option, what a command line may say."""


def test_every_option_is_tried() -> None:
    assert SAID.keys() == {key.option for key in config.KEYS.values()}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    drawn = draw(st.lists(st.sampled_from(sorted(SAID)), unique=True))
    words: list[str] = []
    for option in drawn:
        value = draw(SAID[option])
        negated = option in SWITCHES and draw(st.booleans())
        words += [option.replace("--", "--no-") if negated else option]
        words += map(str, value if isinstance(value, list) else [value])
    if {"--steps", "--size", "--restarts", "--queries", "--set"} & set(drawn):  # some attack must have them
        words += ["--attack", "mi-fgsm", "pgd", "square"]
    return words


def resolved(found: argparse.Namespace) -> dict[str, object]:
    """Options with their paths made whole; a defence's file too."""
    return {
        key: str(Path(str(value)).resolve()) if isinstance(value, Path) or Path(str(value)).exists() else value
        for key, value in vars(found).items()
    }


@given(command_lines())
def test_what_is_written_says_the_same(words: list[str]) -> None:
    said = options(*words)
    text = config.write(said)
    assert filed(text) == said
    assert config.write(filed(text)) == text
    deep = filed(config.write(said, Path("deep")), at="deep/run.toml")
    assert resolved(deep) == resolved(said)


@given(command_lines())
def test_set_says_the_same_key_by_key(words: list[str]) -> None:
    said = options(*words)
    document = tomllib.loads(config.write(said))
    flat = []
    for table, keys in document.items():
        for name, value in keys.items():
            below = {f".{key}": it for key, it in value.items()} if isinstance(value, dict) else {"": value}
            flat += [f"{table}.{name}{key}={toml(it)}" for key, it in below.items()]
    assert options("--set", *flat) == said


def toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return f"'{value}'" if "'" not in value else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_no_limit_is_written_as_nothing() -> None:
    assert "eps" not in config.write(options("--attack", "ddn", "--eps", "inf"))


MISTAKES = {
    "unknown table": (
        "[attack]\n\n[atack]\n",
        "run.toml, line 3: expected a table, got 'atack': the nearest is 'attack'",
    ),
    "table unlike any": ("[zzz]", "line 1: expected a table, got 'zzz': there are data, model"),
    "unknown key": (
        "[attack]\neps = 1\n\nepss = 2",
        "run.toml, line 4: expected a key of [attack], got 'epss': the nearest is 'eps'",
    ),
    "key of another table": ("[model]\neps = 1", "line 2: expected a key of [model], got 'eps': it is attack.eps"),
    "key outside of a table": (
        "\neps = 1",
        "line 2: expected a table, got the key 'eps' outside of one: it is attack.eps",
    ),
    "dotted key": ("attack.eps = 0.1\nattack.epss = 1", "line 2: expected a key of [attack], got 'epss'"),
    "quoted key": ('[attack]\n"e.p\\u0073" = 0.1', "line 2: expected a key of [attack], got 'e.ps'"),
    "no table": ("attack = 'pgd'", "line 1: expected [attack] as a table, got 'pgd'"),
    "several tables": ("[[attack]]\neps = 1", "line 1: expected [attack] as a table, got [{'eps': 1}]"),
    "table for a value": ("[attack.eps]\na = 1", "line 1: expected attack.eps as a number >= 0, got {'a': 1}"),
    "value for a table": ("[attack]\nsettings = 3", "line 2: expected attack.settings as a table of settings"),
    "word for a number": ("[attack]\neps = 'big'", "line 2: expected attack.eps as a number >= 0, got 'big'"),
    "bool for a number": ("[attack]\neps = true", "expected attack.eps as a number >= 0, got true"),
    "bool for a whole number": ("[attack]\nsteps = false", "expected attack.steps as a whole number >= 1, got false"),
    "fraction for a whole number": ("[data]\nimages = 10.0", "expected data.images as a whole number >= 0, got 10.0"),
    "number for a bool": ("[attack]\ngrid = 1", "expected attack.grid as true or false, got 1"),
    "number for a word": ("[data]\nname = 7", "expected data.name as a name, got 7"),
    "empty word": ("[model]\ndevice = ''", "expected model.device as a word, got ''"),
    "date": ("[run]\nseed = 1979-05-27", "expected run.seed as a whole number"),
    "list for a value": ("[attack]\nsteps = [1]", "expected attack.steps as a whole number >= 1, got [1]"),
    "negative eps": ("[attack]\neps = [\n0.1,\n-1]", "line 2: expected attack.eps as a number >= 0, got -1"),
    "eps nan": ("[attack]\neps = nan", "expected attack.eps as a number >= 0, got nan"),
    "eps inf": ("[attack]\neps = inf", "expected attack.eps as a number >= 0, got inf"),
    "eps too large": ("[attack]\neps = 1" + "0" * 400, "expected attack.eps as a number >= 0, got 1000"),
    "no eps": ("[attack]\neps = []", "expected attack.eps as one or more, got []"),
    "no attack": ("[attack]\nnames = []", "expected attack.names as one or more, got []"),
    "negative images": ("[data]\nimages = -1", "expected data.images as a whole number >= 0, got -1"),
    "no steps": ("[attack]\nsteps = 0", "expected attack.steps as a whole number >= 1, got 0"),
    "no size": ("[attack]\nsize = 0", "expected attack.size as a number > 0, got 0"),
    "share out of range": ("[defence]\nfpr = 1", "expected defence.fpr as a number above 0 and below 1, got 1"),
    "seed too large": ("[run]\nseed = 9223372036854775808", "expected run.seed as a whole number of at most 64 bits"),
    "unknown norm": ("[attack]\nnorm = 'linf'", "expected attack.norm as one of Linf, L2, L1, L0, got 'linf'"),
    "unknown attack": (
        "[attack]\nnames = ['fgsm', 'pgdd']",
        "line 2: expected the name of an attack, got 'pgdd': did you mean pgd",
    ),
    "unknown data": (
        "[data]\nname = 'mnst'",
        "line 2: expected the name of a data set, got 'mnst': did you mean mnist",
    ),
    "unknown model": ("[model]\nname = 'lennet'", "expected the name of a model, got 'lennet': did you mean lenet"),
    "unknown defence": ("[defence]\nname = 'jpg'", "expected the name of a defence, got 'jpg': did you mean jpeg"),
    "defence with settings": (
        "[defence]\nname = 'jpeg:quality=3'",
        "expected the name of a defence, got 'jpeg:quality=3'",
    ),
    "unknown detector": ("[defence]\ndetector = 'combined'", "expected the name of a detector, got 'combined'"),
    "untrained surrogate": ("[attack]\nsurrogate = 'cnn'", "expected the name of a surrogate, got 'cnn'"),
    "setting of no attack": (
        "attack.names = 'mi-fgsm'\n[attack.settings]\nmomentun = 1",
        "line 3: expected the name of a setting of mi-fgsm, got 'momentun'",
    ),
    "setting where there is none": (
        "[attack]\nnames = 'fgsm'\nsettings.a = 1",
        "line 3: expected the name of a setting of fgsm, got 'a': it has none",
    ),
    "setting with a key": ("[attack.settings]\nsteps = 1", "line 2: expected attack.steps, a key of its own"),
    "steps of none": ("[attack]\nnames = 'fgsm'\nsteps = 3", "line 3: expected no attack.steps for fgsm"),
    "table for a setting": (
        "[attack.settings]\nrandom = { a = 1 }",
        "expected attack.settings.random as a number, true",
    ),
    "setting of another defence": (
        "[defence]\nname = 'jpeg'\n[defence.settings]\nqualty = 5",
        "line 4: expected the name of a setting of jpeg, got 'qualty': did you mean quality",
    ),
    "settings of no defence": ("[defence.settings]\nquality = 5", "line 2: expected no settings for the defence none"),
    "settings of weights": (
        "[defence]\nname = 'unet'\nsettings = {quality = 5}",
        "line 3: expected no settings for the defence unet",
    ),
    "comma in a setting": (
        "[defence]\nname = 'jpeg'\nsettings.gradient = 'a,b'",
        "as a number, true, false or a word without a comma",
    ),
    "key twice": (
        "[attack]\neps = 1\neps = 2\n",
        "run.toml, line 3, column 8: expected every key once, got this one again",
    ),
    "table twice": (
        "[attack]\n[data]\n[attack]",
        "run.toml, line 3, column 8: expected TOML, but Cannot declare ('attack',) twice",
    ),
    "no value": ("[attack]\neps =\n", "run.toml, line 2, column 6: expected a value, got nothing"),
    "word without quotes": (
        "[attack]\n\nnorm = Linf",
        "run.toml, line 3, column 8: expected a value, got 'Linf': a word stands in quotes",
    ),
    "open string": ("[data]\nname = 'mnist", 'run.toml, line 2, column 14: expected "\'"'),
    "open list": ("[attack]\neps = [1,\n2\n", "run.toml, line 4, column 1: expected TOML, but Unclosed array"),
    "no TOML": ('{"attack": {"eps": 0.1}}', "run.toml, line 1, column 1: expected TOML, but Invalid statement"),
    "nested too deeply": ("a = " + "[" * 100_000, "expected a configuration in TOML, got one nested too deeply"),
    "digits without end": ("[run]\nseed = " + "1" * 5000, "run.toml: expected a configuration in TOML, but"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_its_line(case: str) -> None:
    text, expected = MISTAKES[case]
    Path("run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        options("run.toml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("run.toml")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("attack.epss=1", "--set attack.epss=1: expected a key of [attack], got 'epss': the nearest is 'eps'"),
        ("atack.eps=1", "--set atack.eps=1: expected a table, got 'atack': the nearest is 'attack'"),
        ("attack.eps=big", "--set attack.eps=big: expected attack.eps as a number >= 0, got 'big'"),
        ("attack.eps=infinity", "expected attack.eps as a number >= 0, got inf"),
        ("attack.eps=", "expected attack.eps as a number >= 0, got ''"),
        ("attack.eps.x=1", "expected attack.eps as a number >= 0, got {'x': 1}"),
        ("attack.steps=1\nattack.eps=1", "expected attack.steps as a whole number >= 1"),
        ("eps=0.1", "expected the name of a setting of standard, got 'eps': say attack.eps"),
        ("eps", "expected --set as KEY=VALUE or NAME=VALUE, got 'eps'"),
        ("=1", "expected --set as KEY=VALUE or NAME=VALUE, got '=1'"),
        (".=1", "expected a table, got ''"),
        ("attack.=1", "expected a key of [attack], got ''"),
    ],
)
def test_a_mistake_in_set_is_told_with_the_word(word: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        options("--set", word)
    assert expected in str(caught.value)


def test_what_is_no_file_is_told() -> None:
    for name, content, expected in (
        ("absent.toml", None, "expected a configuration file at absent.toml, found none"),
        ("deep", None, "expected a configuration file, got the folder deep"),
        ("own.npz/a.toml", None, "expected a configuration file that can be read at own.npz/a.toml, but Not a dir"),
        ("latin.toml", "[run]\n\n# Größe".encode("latin-1"), "latin.toml, line 3: expected UTF-8, got the byte 0xf6"),
        ("utf16.toml", "[run]\n".encode("utf-16"), "utf16.toml, line 1: expected UTF-8, got the byte 0xff"),
    ):
        if content is not None:
            Path(name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            options(name)
        assert expected in str(caught.value)


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    Path("run.toml").write_bytes(b"\xef\xbb\xbf[attack]\r\neps = 0.1\r\n")
    assert options("run.toml").eps == [0.1]
    Path("run.toml").write_bytes(b"[attack]\r\neps = 0.1\r\n\r\nepss = 1")
    with pytest.raises(InputError, match=r"line 4: expected a key of \[attack\]"):
        options("run.toml")


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
