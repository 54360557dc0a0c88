"""Words of the command line and of params files: one meaning each, or refused in a line naming the key."""

from __future__ import annotations

import shlex

import pytest
import yaml

from nbkit.cli import planning
from nbkit.cli.commands import main
from nbkit.run import files, params
from nbkit.run.params import coerce
from nbkit.run.schemas.base import Common, par
from nbkit.run.yaml_text import Unclear, read_mapping, read_scalar, read_value


class Demo(Common):
    steps: int = par(1, "steps", lo=0)
    lr: float = par(0.1, "rate")
    model: str = par("", "a folder")
    shuffle: bool = par(True, "shuffle")
    sets: list[str] = par([], "names")
    limit: int | None = par(None, "rows")


def given(text: str) -> dict:
    """What `-p text` comes to, as the schema takes it."""
    (name,) = (values := planning.overrides([text]))
    return {name: getattr(coerce(Demo, values), name)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=7", 7),
        ("steps=+7", 7),
        ("steps=0x1F", 31),
        ("steps=007", 7),  # seven to both readers
        ("seed=  5 ", 5),
        ("lr=1e-3", 0.001),
        ("lr=.5", 0.5),
        ("lr=5.", 5.0),
        ("lr=-2.5E+2", -250.0),
        ("lr=3", 3.0),
        ("limit=null", None),
        ("limit=~", None),
        ("shuffle=true", True),
        ("shuffle=False", False),
        ("model=/data/run #2/model", "/data/run #2/model"),
        ("model=/data/a b/#3", "/data/a b/#3"),
        ("model=C:\\temp\\new", "C:\\temp\\new"),
        ("model=\\\\server\\share\\x", "\\\\server\\share\\x"),
        ("model=http://host:8000/v1?a=b#c", "http://host:8000/v1?a=b#c"),
        ("model=note: this", "note: this"),
        ("model=a,b", "a,b"),
        ("model=x[0]{1}", "x[0]{1}"),
        ("model=v1.10.0", "v1.10.0"),
        ("model=owner/name@main", "owner/name@main"),
        ('model="no"', "no"),
        ("model='2024-01-01'", "2024-01-01"),
        ('model="@main"', "@main"),
        ("model='C:\\users\\it''s'", "C:\\users\\it's"),
        ('model=""', ""),
        ("model=y", "y"),
        ("model=inf", "inf"),
        ("sets=[gsm8k, mbpp]", ["gsm8k", "mbpp"]),
        ("sets=[]", []),
        ('sets=["a, b", "no", "x #1"]', ["a, b", "no", "x #1"]),
        ("sets=[hub:a/b@main]", ["hub:a/b@main"]),
    ],
)
def test_values_that_mean_one_thing(text, value):
    assert given(text) == {text.partition("=")[0].strip(): value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps=010", "Demo: steps=010 is 8 to YAML 1.1 and 10 to YAML 1.2, wanted int"),
        ("steps=-0777", "-511 to YAML 1.1 and -777 to YAML 1.2"),
        ("steps=08", "is text to YAML 1.1 and 8 to YAML 1.2"),
        ("steps=0o17", "is text to YAML 1.1 and 15 to YAML 1.2"),
        ("steps=0b101", "is 5 to YAML 1.1 and text to YAML 1.2"),
        ("steps=1:30", "Demo: steps=1:30 is 90 to YAML 1.1"),
        ("steps=10:00:00", "is 36000 to YAML 1.1"),
        ("steps=1_000", "is 1000 to YAML 1.1"),
        ("lr=1_0.5", "is 10.5 to YAML 1.1"),
        ("lr=1:30.5", "is 90.5 to YAML 1.1"),
        ("lr=.inf", "is not finite"),
        ("lr=.nan", "is not finite"),
        ("lr=1e999", "is not finite"),
        ("lr=inf", "wanted float"),
        ("steps=1e3", "wanted int; write the whole number in plain digits"),
        ("steps=" + "9" * 5000, "is a number of 5,000 digits"),
        ("lr=" + "9" * 400, "bits, too large for a float"),
        (
            "model=no",
            "Demo: model=no is false to YAML 1.1 and text to YAML 1.2, wanted str; for text write it",
        ),
        ("model=On", "model=On is true"),
        ("model=2024-01-01", "Demo: model=2024-01-01 is a date to YAML 1.1"),
        ("model=2024-13-45", "is a date to YAML 1.1"),
        ("model=2001-12-14t21:59:43.10-05:00", "is a date to YAML 1.1"),
        ("model=", "Demo: model= is empty, wanted str; for text write it in quotes"),
        ("steps=", "Demo: steps= is empty"),
        ("limit= ", "Demo: limit= is empty"),
        ("shuffle=yes", "wanted bool; write true or false"),
        ("sets=off", "wanted list; for text write it in quotes"),
        ("sets=", "wanted list; write a list such as [a, b], or leave it out"),
        ("sets=[a, no]", "sets[1]=no is false to YAML 1.1"),
        ("model=5", "wanted str"),
        ("model=null", "wanted str"),
    ],
)
def test_values_that_the_schema_refuses_by_name(text, told):
    with pytest.raises(ValueError) as error:
        given(text)
    assert told in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "task_sets=[gsm8k,",
        "task_sets=[gsm8k",
        "task_sets=[a #b, c]",
        "task_sets=[a] # mine",
        "task_sets=[a][b]",
        "task_sets=" + "[" * 3000,
        "teacher_model=@main",
        "teacher_model=`ls`",
        "teacher_model=&anchor",
        "teacher_model=*alias",
        "teacher_model=!tag x",
        "teacher_model=%x",
        "teacher_model=# all of it",
        "teacher_model='tis",
        'teacher_model="C:\\users"',
        "teacher_model={a: 1",
        "teacher_model=]",
        "teacher_model=- x",
        "teacher_model=-",
    ],
)
def test_what_yaml_cannot_read_is_code_2_and_one_line_that_names_the_key(capsys, text):
    assert main(["run", "--only", "05", "-p", text]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"nbkit: -p {text.partition('=')[0]}=") and len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("sets=[no]", ["no"]),
        ("sets=[gsm8k, on]", ["gsm8k", "on"]),
        ("sets=[it's, 010]", ["it's", "010"]),
        ("sets=[1.10, 2024, a b]", ["1.10", "2024", "a b"]),
        ("sets=[true, 0x1F, 'x, y', $HOME]", ["true", "0x1F", "x, y", "$HOME"]),
        ("sets=[2024-01-01]", ["2024-01-01"]),
        ("sets=gsm8k", ["gsm8k"]),
        ("sets=5", ["5"]),
        ("sets=no", ["no"]),
        ("sets=a`b", ["a`b"]),
        ("model=1.10", "1.10"),
        ("model=2024", "2024"),
        ("model=007", "007"),
        ("model=+1.50", "+1.50"),
        ("model=.5", ".5"),
        ("model=0x1F", "0x1F"),
        ("model=true", "true"),
        ("model=null", "null"),
        ("model=off", "off"),
        ("model=1_000", "1_000"),
        ("model=12:30", "12:30"),
        ("model=", ""),
        ("model=@main", "@main"),
        ("model='tis", "'tis"),
        ('model="C:\\users"', '"C:\\users"'),
        ("model=[v2] final", "[v2] final"),
        ("model={name}.npy: it's", "{name}.npy: it's"),
        ("model=- x", "- x"),
        ("model=" + "9" * 60 + ".0", "9" * 60 + ".0"),
    ],
)
def test_the_advice_for_text_works_as_it_stands(text, meant):
    with pytest.raises(ValueError) as error:
        given(text)
    flag, pair = shlex.split(str(error.value).rpartition("on the command line ")[2])
    assert flag == "-p" and given(pair) == {text.partition("=")[0]: meant}


@pytest.mark.parametrize("value", ["1.10", "2024", "no", "0x10", "010", "[gsm8k, no, 1.10]"])
def test_the_command_says_which_quotes_to_write(capsys, value):
    name = "task_sets" if value[0] == "[" else "teacher_model"
    assert main(["run", "--only", "05", "-p", f"{name}={value}"]) == 2
    shown = '["gsm8k", "no", "1.10"]' if value[0] == "[" else f'"{value}"'
    assert f"-p '{name}={shown}'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["16", "no", "1.0", "true", "010", "null"])
def test_of_a_few_choices_the_advice_is_one_of_them(capsys, value):
    assert main(["run", "--only", "05", "-p", f"precision={value}"]) == 2
    told = capsys.readouterr().err
    assert "wanted str; write one of ['auto', 'bf16', 'fp32']" in told and "quotes" not in told


@pytest.mark.parametrize("text", ["sets=[[a]]", "model=[a]", "model=[no]", "model={a: b}", "sets=[{a: 1}]"])
def test_brackets_where_a_text_is_wanted(text):
    with pytest.raises(ValueError, match="wanted str; write the text without brackets") as error:
        given(text)
    assert "Unclear" not in str(error.value)


@pytest.mark.parametrize("number", ["1.10", "0x1F", "+7", "5.", "1e2", "2024"])
def test_a_number_is_plain_once_it_is_a_parameter(number):
    found = given(f"lr={number}")["lr"]
    assert type(found) is float
    if "." not in number and "e" not in number:
        assert type(given(f"steps={number}")["steps"]) is type(given(f"limit={number}")["limit"]) is int


def test_keys_are_given_once_and_have_names():
    with pytest.raises(ValueError, match="-p steps: given twice; keep one"):
        planning.overrides(["steps=1", "lr=2", "steps=1"])
    with pytest.raises(ValueError, match="-x time: given twice"):
        list(planning.pairs(["time=1", "time=2"], "-x"))
    assert planning.overrides([" steps =1"]) == {"steps": 1}
    for pair in ("=5", " =5", "steps"):
        with pytest.raises(ValueError, match="write -p KEY=VALUE"):
            planning.overrides([pair])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("steps: 010", "steps=010 is 8 to YAML 1.1 and 10"),
        ("steps: 1:30", "steps=1:30 is 90"),
        ("fail: no", "fail=no is false"),
        ("shuffle: yes", "write true or false"),
        ("fail: 2024-01-01", "is a date"),
        ("steps:", "steps=None is None, wanted int"),
        ("fail: 1.10", "fail=1.10 is a float, wanted str; write one of ['no', 'raise'"),
        ("fail: no", """for text write it in quotes, on the command line -p 'fail="no"'"""),  # a choice
        ("fail: /data/run #2/model", "fail: the value ends at '/data/run', since ' #' begins a comment"),
        ("fail: @main", "cannot start any token, line 2 column 7"),
        ("5: 6", "the key 5 is no name of a parameter"),
        ("steps: 1\nsteps: 2", "key 'steps' stands twice"),
        ("<<: {steps: 2}", "wanted a flat mapping"),
    ],
)
def test_params_files_follow_the_same_rules(project, lines, told):
    (project / "params/tiny/01_make.yaml").write_text(f"profile: tiny\n{lines}\n")
    with pytest.raises(ValueError) as error:
        coerce(params.schemas()["01_make"], params.load_profile("tiny", "01_make"))
    assert told in str(error.value)


def test_a_params_file_may_hold_comments_quotes_and_a_byte_order_mark(project):
    text = '\ufeffprofile: tiny  # which\nsteps: 0x10   # hex\nlr: 1e-2\nfail: "no" # text\n# end #1\n'
    (project / "params/tiny/01_make.yaml").write_text(text, encoding="utf-8")
    found = coerce(params.schemas()["01_make"], params.load_profile("tiny", "01_make"))
    assert (found.steps, found.lr, found.fail) == (16, 0.01, "no")


def test_papermill_reads_every_shipped_profile_as_we_do():
    """papermill -f uses PyYAML, YAML 1.1."""
    paths = [
        path for name in params.profiles() for path in files.project_root().glob(f"params/{name}/*.yaml")
    ]
    assert len(paths) >= 42
    for path in paths:
        assert params.read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "word", ["5", "-3", "1.5", ".5", "true", "null", "~", "", "text", "a b", "0x1f", "1.0.0"]
)
def test_a_word_that_is_not_refused_is_what_pyyaml_reads(word):
    assert read_scalar(word) == yaml.safe_load(word) and not isinstance(read_scalar(word), Unclear)


def test_broken_files_are_one_line():
    with pytest.raises(ValueError, match="line 2 column 2") as error:
        read_mapping("a: [1, 2\nb: 3\n")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ValueError, match="too deeply nested"):
        read_mapping("a: " + "[" * 5000)
    assert read_value("[1, [2, 3]]") == [1, [2, 3]]
