"""A run from a file, the command line and --set: one value, whichever said it."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelman.cli.main import parser
from steelman.cli.options import arguments
from steelman.errors import InputError
from steelman.spec import AttackSpec, DataSpec, PipelineSpec, RunSpec
from steelman.spec.options import OPTIONS


@pytest.fixture(autouse=True)
def in_a_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep").mkdir()
    for name in ("own.npz", "w.safetensors", "deep/own.npz"):
        Path(name).touch()


PARSER = parser("evaluate")


def options(*words: object) -> RunSpec:
    """What a command line says, its file included."""
    values = vars(PARSER.parse_args(["evaluate", *map(str, words)]))
    spec: RunSpec = arguments(values)["spec"]
    return spec


def filed(text: str, *words: object, at: str = "run.toml") -> RunSpec:
    """The same, with this file in front."""
    Path(at).write_text(text, encoding="utf-8")
    return options(at, "--trust-code", *words)


def test_every_option_has_one_key_and_every_key_is_an_option() -> None:
    (commands,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    evaluate = commands.choices["evaluate"]._actions
    own = {action.option_strings[0] for action in evaluate if action.option_strings}
    assert own - {"-h", "--fresh", "--trust-code"} == {option.option for option in OPTIONS.values()}
    plain = [option.option for option in OPTIONS.values() if not option.table]
    assert len(set(plain)) == len(plain)
    tables = {"attack.settings", "defence.settings", "defence.detector_settings"}
    assert {key for key, option in OPTIONS.items() if option.table} == tables
    assert all(option.says and option.kind.wanted for option in OPTIONS.values())


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
    assert options() == RunSpec()
    assert options().attacks.names == ("standard",)


def test_what_is_said_later_wins() -> None:
    text = "[attack]\neps = [0.1, 0.2]\nsteps = 7\nnames = 'bim'\n[data]\nimages = 9\n[run]\nout = 'here'"
    assert filed(text).attacks.eps == (0.1, 0.2)
    assert filed(text, "--eps", 0.3).attacks.eps == (0.3,)
    assert filed(text, "--eps", 0.3, "--set", "attack.eps=0.4").attacks.eps == (0.4,)
    assert filed(text, "--set", "attack.eps=0.4", "--eps", 0.3).attacks.eps == (0.4,)
    left = filed(text, "--eps", 0.3)
    assert (left.attacks.steps, left.attacks.names, left.data.images, left.attacks.norm) == (7, ("bim",), 9, "Linf")
    # what is said as it is by default is said nonetheless
    assert filed(text, "--images", 1000, "--out", "runs/evaluate", "--attack", "pgd").data.images == 1000
    assert filed("[attack]\ngrid = true", "--set", "attack.grid=false").attacks.grid is False


def test_another_defence_leaves_the_settings_of_the_one_before() -> None:
    text = "[defence]\nname = 'jpeg'\nsettings = { quality = 50 }"
    assert filed(text).pipeline == PipelineSpec(defence="jpeg", settings={"quality": 50})
    assert filed(text, "--defence", "median").pipeline == PipelineSpec(defence="median")
    assert filed(text, "--defence", "median:size=3").pipeline == PipelineSpec(defence="median", settings={"size": 3})
    assert filed(text, "--set", "defence.name=none").pipeline == PipelineSpec(defence="none")
    assert filed(text, "--set", "defence.settings.quality=5").pipeline.settings == {"quality": 5}
    own = options("--detector", "my.py:kind:weights=w,top=3").pipeline
    assert (own.detector, own.detector_settings) == ("my.py:kind", {"weights": "w", "top": 3})


def test_a_radius_may_be_a_fraction_on_every_door() -> None:
    for said in (options("--eps", "8/255", "1e-1"), filed("[attack]\neps = ['8/255', 0.1]")):
        assert said.attacks.eps == (8 / 255, 0.1)
    assert options("--set", "attack.eps=8/255").attacks.eps == AttackSpec(eps="8/255").eps == (8 / 255,)
    assert options("--eps", "inf").attacks.eps == (float("inf"),)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("attack.eps=.1", (0.1,)),
        ("attack.eps=[0.1, 1]", (0.1, 1.0)),
        ("attack.names=fgsm", ("fgsm",)),
        ('attack.names=["fgsm", "pgd"]', ("fgsm", "pgd")),
        ("attack.grid=true", True),
        ("attack.steps=3", 3),
        ("steps=3", 3),
        ("run.out=2024", Path("2024")),
        ("run.out=a=b", Path("a=b")),
        ("model.name=package:true", "package:true"),
    ],
)
def test_set_takes_toml_or_a_word(word: str, value: object) -> None:
    key = word.partition("=")[0]
    option = OPTIONS[key if "." in key else f"attack.{key}"]
    assert getattr(getattr(options("--attack", "pgd", "--set", word), option.part), option.name) == value


def test_a_bare_name_is_a_setting_of_the_attack() -> None:
    words = ("--attack", "square", "--set", "p=0.5", "resc_schedule=false")
    with pytest.raises(InputError, match="setting of square, got 'resc_schedule'"):
        options(*words)
    for words in (("momentum=0.5",), ("attack.settings.momentum=.5",), ("momentum=1", "attack.eps=1", "momentum=0.5")):
        assert options("--attack", "mi-fgsm", "--set", *words).attacks.settings == {"momentum": 0.5}
    assert options("--attack", "mi-fgsm", "--set", "momentum=none").attacks.settings == {"momentum": None}


def test_paths_of_a_file_are_relative_to_it() -> None:
    text = "[data]\nname = 'own.npz'\n[model]\nname = 'm:f'\nweights = '../w.safetensors'\n[run]\nout = 'e'\n"
    found = filed(text + "[defence]\nname = '../w.safetensors'\ndetector = 'own.npz'", at="deep/run.toml")
    assert found.data.name == str(Path("deep/own.npz"))
    assert found.pipeline.weights == Path("deep/../w.safetensors")
    assert found.pipeline.defence == str(Path("deep/../w.safetensors"))
    assert found.pipeline.detector == str(Path("deep/own.npz"))
    assert found.run.out == Path("deep/e")
    trained = filed("[defence]\nname = 'magnet'\nsettings = {weights = 'own.npz'}", at="deep/run.toml")
    assert trained.pipeline.settings == {"weights": "deep/own.npz"}
    assert "'own.npz'" in trained.to_toml(Path("deep")).replace('"', "'")
    assert found.pipeline.model == "m:f"
    assert filed("[model]\nname = 'my.py:net'", at="deep/run.toml").pipeline.model == "deep/my.py:net"
    # a name goes before a path, and what is said beside the file is said from here
    Path("deep/mnist").mkdir()
    beside = filed("[data]\nname = 'mnist'", "--out", "e", "--set", "model.weights=w", at="deep/run.toml")
    assert (beside.data.name, beside.run.out, beside.pipeline.weights) == ("mnist", Path("e"), Path("w"))


def test_a_file_names_code_only_where_it_is_trusted() -> None:
    text = "[model]\nname = 'package.module:factory'"
    assert filed(text).pipeline.model == "package.module:factory"
    Path("run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"run.toml, line 2: .*--trust-code"):
        options("run.toml")
    with pytest.raises(InputError, match="line 2"):
        RunSpec.from_toml("run.toml")
    assert RunSpec.from_toml("run.toml", trust_code=True) == filed(text)
    assert options("--model", "package.module:factory").pipeline.model == "package.module:factory"
    assert options("--set", "model.name=package.module:factory").pipeline.model == "package.module:factory"


SWITCHES = ("--certify", "--curve", "--checks")
SAID = {
    "--data": st.sampled_from(["mnist", "fashion-mnist", "own.npz", "deep"]),
    "--like": st.sampled_from(["mnist", "cifar10"]),
    "--images": st.integers(0, 10**6),
    "--model": st.sampled_from(["mnist/cnn", "resnet18", "package.module:factory"]),
    "--weights": st.sampled_from(["w.safetensors", "deep/not there", "/absent/ü \"'\\.st"]),
    "--device": st.sampled_from(["cpu", "cuda:1", "auto"]),
    "--defence": st.sampled_from(["unet", "mnist/unet", "none", "w.safetensors", "jpeg", "jpeg:quality=50"])
    | st.sampled_from(["jpeg:quality=7,gradient=identity", "total-variation:weight=1e-05,drop=0.5", "median:size=3"]),
    "--detector": st.sampled_from(["mnist/combined", "w.safetensors"]),
    "--fpr": st.floats(1e-9, 0.999),
    "--attack": st.lists(st.sampled_from(["pgd", "fgsm", "ddn", "gama-fw"]), min_size=1, unique=True),
    "--eps": st.lists(st.floats(0, 1e6), min_size=1, unique=True),
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
    "--check": st.sampled_from(["my_checks.py:dark", "package.module:dark"]),
    "--out": st.sampled_from(["runs/e", ".", 'a b/#c = ["d"]']),
    "--set": st.sampled_from(
        ["momentum=0.5", "momentum=none", "momentum=true", "momentum=1e-07", "momentum=a,b", "momentum=[1, 2]"]
    ),
}
"""For each option, what a command line may say."""


def test_every_option_is_tried() -> None:
    assert SAID.keys() == {option.option for option in OPTIONS.values()}


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


@given(command_lines())
def test_what_is_written_says_the_same(words: list[str]) -> None:
    said = options(*words)
    text = said.to_toml()
    assert filed(text) == said == RunSpec.from_toml("run.toml", trust_code=True)
    assert filed(text).to_toml() == text
    deep = filed(said.to_toml(Path("deep")), at="deep/run.toml")
    assert deep.to_toml() == text
    assert RunSpec(**json.loads(said.model_dump_json())) == said


@given(command_lines())
def test_set_says_the_same_key_by_key(words: list[str]) -> None:
    said = options(*words)
    document = tomllib.loads(said.to_toml())
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


def test_a_run_is_frozen_and_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunSpec().data.images = 3
    for wrong, parts in (
        (lambda: DataSpec(image=3), ("field of DataSpec", "'image'", "images")),
        (lambda: RunSpec(data={"images": -1}), ("data.images", ">= 0", "-1")),
        (lambda: RunSpec(data=3), ("DataSpec", "3")),
        (lambda: AttackSpec(norm="L3"), ("attack.norm", "Linf, L2, L1, L0", "'L3'")),
        (lambda: AttackSpec(eps="8/0"), ("attack.eps", "8/255", "'8/0'")),
        (lambda: AttackSpec(names=("pgd", "fgsm", "pgd")), ("attack.names", "'pgd' twice", "leave one out")),
        (lambda: PipelineSpec(settings={"a": {}}), ("defence.settings.a", "{}")),
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert all(part in str(caught.value) for part in parts)
