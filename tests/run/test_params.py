"""coerce, load_profile and parameters_cell: every way to get a parameter wrong, and each right one."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from nbkit.run import params
from nbkit.run.params import coerce
from nbkit.run.schemas.base import Common, par


class Demo(Common):
    steps: int = par(100, "optimizer steps", lo=1, hi=1000)
    lr: float = par(1e-3, "peak learning rate", lo=0.0, hi=1.0, source="report")
    decay: bool = par(True, "decay at the end")
    order: str = par("fg", "sample order", choices=["fg", "vanilla"])
    sizes: list[int] = par([1, 2], "data sizes", lo=1)
    weights: list[float] = par([0.5], "weights")
    names: list[str] = par(["a"], "names")
    limit: int | None = par(None, "rows, or null for all", lo=1)

    def check(self) -> None:
        if self.steps < len(self.sizes):
            raise ValueError("steps must be at least the number of sizes")


def test_defaults_and_every_accepted_form():
    assert coerce(Demo, {}) == Demo()
    given = {
        "lr": "1e-3",
        "sizes": (3, 4),
        "weights": [1, "2.5"],
        "limit": 5,
        "decay": False,
        "profile": "smoke",
    }
    got = coerce(Demo, given)
    assert got.lr == 0.001 and got.sizes == [3, 4] and got.weights == [1.0, 2.5] and got.limit == 5
    assert [type(w) for w in got.weights] == [float, float] and got.decay is False
    assert type(coerce(Demo, {"lr": 1}).lr) is float
    with pytest.raises(ValidationError, match="frozen"):
        got.lr = 1.0


def test_list_defaults_are_not_shared():
    coerce(Demo, {}).sizes.append(9)
    assert coerce(Demo, {}).sizes == [1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stpes": 5}, "unknown parameter 'stpes' (did you mean 'steps'?)"),
        ({"zzz": 5}, "unknown parameter 'zzz'; known: "),
        ({"steps": "1e3"}, "steps='1e3' is a str, wanted int; write the whole number in plain digits"),
        ({"steps": 100.0}, "steps=100.0 is a float, wanted int; write 100"),
        ({"steps": True}, "steps=True is a bool, wanted int"),
        ({"steps": 0}, "steps=0 is out of range [1, 1000]: optimizer steps"),
        ({"steps": None}, "steps=None is None, wanted int"),
        ({"lr": "fast"}, "lr='fast' is a str, wanted float"),
        ({"lr": True}, "lr=True is a bool, wanted float"),
        ({"lr": math.nan}, "lr=nan is not finite"),
        ({"lr": math.inf}, "lr=inf is not finite"),
        ({"lr": "nan"}, "lr='nan' is a str, wanted float"),
        ({"lr": "1e400"}, "lr=inf is not finite"),
        ({"lr": 1.5}, "lr=1.5 is out of range [0.0, 1.0]"),
        ({"decay": "false"}, "decay='false' is a str, wanted bool; write false without quotes"),
        ({"decay": 0}, "decay=0 is a int, wanted bool"),
        ({"order": "vanila"}, "order='vanila' is not one of ['fg', 'vanilla'] (did you mean 'vanilla'?)"),
        ({"order": 3}, "order=3 is a int, wanted str"),
        ({"sizes": 3}, "sizes=3 is a int, wanted a list; write [3]"),
        ({"sizes": [1, 2.5]}, "sizes[1]=2.5 is a float, wanted int"),
        ({"sizes": [0]}, "sizes=0 is out of range [1, inf]"),
        ({"names": "abc"}, "names='abc' is a str, wanted a list"),
        ({"limit": "all"}, "limit='all' is a str, wanted int"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"profile": "a/b"}, "profile='a/b' is not a plain folder name"),
        ({"profile": ".."}, "profile='..' is not a plain folder name"),
        ({"steps": 1}, "Demo: steps must be at least the number of sizes"),
    ],
)
def test_what_is_refused_and_how_it_is_said(values, message):
    with pytest.raises(ValueError) as error:
        coerce(Demo, values)
    assert message in str(error.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ValueError) as error:
        coerce(Demo, {"stpes": 1, "lr": 2.0, "decay": "true"})
    assert len(str(error.value).splitlines()) == 3


def test_par_keeps_its_metadata_and_refuses_an_unknown_source():
    assert Demo.about("lr")["source"] == "report"
    assert Demo.about("lr")["doc"] == "peak learning rate"
    assert Demo.about("profile")["role"] == "fixed"
    assert Demo.about("seed")["role"] == "nuisance"
    with pytest.raises(ValueError, match="source must be one of"):
        par(1, "x", source="hearsay")


@pytest.mark.parametrize("text", ["02", "02_use", "use"])
def test_resolve_stage(project, text):
    assert params.resolve_stage(text) == "02_use"


@pytest.mark.parametrize(("text", "near"), [("02_sue", "02_use"), ("2", ""), ("", "")])
def test_resolve_stage_lists_the_stages(project, text, near):
    with pytest.raises(ValueError, match="stages: 01_make, 02_use, 03_last") as error:
        params.resolve_stage(text)
    assert near in str(error.value)


def test_load_profile(project):
    assert params.load_profile("tiny", "01_make") == {"profile": "tiny", "seed": 0, "steps": 4}
    with pytest.raises(
        ValueError, match=r"unknown profile 'tinny' \(did you mean 'tiny'\?\); profiles: other, tiny"
    ):
        params.load_profile("tinny", "01_make")
    (project / "params/tiny/01_make.yaml").unlink()
    with pytest.raises(ValueError, match="profile 'tiny' has no 01_make.yaml"):
        params.load_profile("tiny", "01_make")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile: tiny\nsteps: 1\nsteps: 2\n", "key 'steps' stands twice"),
        ("profile: tiny\nmodel: {width: 8}\n", "wanted a flat mapping"),
        ("- 1\n", "wanted a flat mapping"),
        ("profile: tiny\n  bad: [\n", "01_make.yaml"),
        ("profile: other\nsteps: 1\n", "write `profile: tiny` in it"),
        ("steps: 1\n", "write `profile: tiny` in it"),
        ("", "wanted a flat mapping"),
    ],
)
def test_broken_profile_files_are_named(project, text, message):
    (project / "params/tiny/01_make.yaml").write_text(text)
    with pytest.raises(ValueError) as error:
        params.load_profile("tiny", "01_make")
    assert message in str(error.value) and "01_make.yaml" in str(error.value)


def test_yaml_exponent_reaches_the_schema_as_a_float(project):
    path = project / "params/tiny/01_make.yaml"
    path.write_text("profile: tiny\nlr: 1e-2\n")
    values = params.load_profile("tiny", "01_make")
    assert values["lr"] == "1e-2", "YAML 1.1 reads it as text"
    assert coerce(params.schemas()["01_make"], values).lr == 0.01


def test_parameters_cell_is_read_by_syntax_not_by_running(project):
    cell = params.parameters_cell(project / "notebooks/01_make.ipynb")
    assert cell["lr"] == ("float", 0.001) and cell["fail"] == ("str", "no")
    assert list(cell) == ["profile", "seed", "steps", "lr", "shuffle", "fail"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("steps = 4", "got `steps = 4`"),
        ("steps: int = 2 * half", "got `steps: int = 2 * half`"),
        ("steps: int", "got `steps: int`"),
        ("import os", "got `import os`"),
        ("steps: int = 1\nsteps: int = 2", "'steps' stands twice"),
    ],
)
def test_parameters_cell_holds_annotated_literals_only(project, source, message):
    path = project / "notebooks/01_make.ipynb"
    content = json.loads(path.read_text())
    content["cells"][2]["source"] = source
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        params.parameters_cell(path)
    assert message in str(error.value)


def test_parameters_cell_must_be_one(project):
    path = project / "notebooks/01_make.ipynb"
    content = json.loads(path.read_text())
    content["cells"][2]["metadata"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="exactly one cell tagged 'parameters', found 0"):
        params.parameters_cell(path)
