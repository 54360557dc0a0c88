"""The seven notebooks: their shape, their parameters in every profile, and two whole smoke runs.

The first run goes through `nbkit run`, the second through nbval in other folders: nbval compares every
cell whose text is stable with the first run's, and the metrics of both must be identical to the byte.
"""

import ast
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import papermill
import pytest
import torch

from nbkit.models.load import Shape, new_model, parameters
from nbkit.run import params
from nbkit.run.schemas import SCHEMAS

ROOT = Path(__file__).resolve().parent.parent
PROFILES = params.profiles()
STAGES = list(SCHEMAS)
RECIPE_FIRST = STAGES  # those with the studies behind the recipe, under a heading of their own
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def cells(stage: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / f"{stage}.ipynb").read_text())["cells"]


def global_names(node: ast.AST) -> set[str]:
    """Names a cell assigns in the notebook itself, not inside its functions and comprehensions."""
    local = (ast.FunctionDef, ast.Lambda, ast.comprehension)
    names = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()
    return names.union(*(global_names(n) for n in ast.iter_child_nodes(node) if not isinstance(n, local)))


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_cell_is_the_schema(stage):
    schema = SCHEMAS[stage]
    found = params.parameters_cell(ROOT / "notebooks" / f"{stage}.ipynb")
    defaults = schema()
    for name, field in schema.model_fields.items():
        annotation, value = found.pop(name)
        hint = field.annotation
        assert annotation == (str(hint) if typing.get_origin(hint) else hint.__name__)
        assert value == getattr(defaults, name), name
    assert not found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_profile_is_complete_valid_and_accepted_by_papermill(profile, stage, tmp_path):
    values = params.load_profile(profile, stage)
    assert set(values) == set(SCHEMAS[stage].model_fields)
    config = params.coerce(SCHEMAS[stage], values)
    if profile == "small":
        assert config == SCHEMAS[stage](), "the defaults are the small profile"
    prepared = papermill.execute_notebook(
        ROOT / "notebooks" / f"{stage}.ipynb",
        tmp_path / "out.ipynb",
        values,
        prepare_only=True,
        progress_bar=False,
    )
    (injected,) = [c for c in prepared.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert f'profile = "{profile}"' in injected.source


def test_full_states_where_each_value_comes_from():
    for stage in STAGES:
        lines = (ROOT / "params" / "full" / f"{stage}.yaml").read_text().splitlines()
        lines = [line for line in lines if not line.startswith(("#", "profile:", "seed:"))]
        assert all(
            line.split("# ")[1].startswith(("report", "released config", "our choice")) for line in lines
        ), stage
    plan = params.load_profile("full", "01_data_mix") | params.load_profile("full", "02_pretrain")
    assert (plan["hidden"], plan["layers"], plan["heads"], plan["kv_heads"], plan["mlp"]) == (
        2560,
        32,
        20,
        4,
        10496,
    )
    assert (plan["peak_lr"], plan["final_lr"], plan["decay_seq_len"]) == (4.5e-4, 1.5e-6, 65_536)


def test_nothing_stands_between_a_missing_jail_and_the_error(tmp_path):
    # not `nbkit run`, which would first ask for 01
    source, values = ROOT / "notebooks/02_pretrain.ipynb", params.load_profile("smoke", "02_pretrain")
    arguments = [str(source), str(tmp_path / "02_pretrain.ipynb"), json.dumps(values)]
    done = run("nbkit.cli.execute", *arguments, NBKIT_OUTPUTS=str(tmp_path), NBKIT_JAIL="off")
    assert done.returncode == 1 and "SandboxUnavailable" in done.stdout + done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_the_baseline_has_ten_times_the_student(profile):
    mix, values = (params.load_profile(profile, stage) for stage in ("01_data_mix", "02_pretrain"))
    vocabulary = mix["vocab_size"]
    tokenizer = type(
        "Sized", (), {"__len__": lambda self: vocabulary, "pad_token_id": 0, "eos_token_id": 1}
    )()
    sizes = {}
    with torch.device("meta"):
        for prefix in ("", "baseline_"):
            shape = {n: values[prefix + n] for n in ("hidden", "layers", "heads", "kv_heads", "mlp")}
            shape = Shape(**shape, context=mix["decay_seq_len"], tied=values["tied_embeddings"])
            model = new_model(tokenizer, shape, seed=0)
            sizes[prefix] = parameters(model)
    assert sizes["baseline_"] >= 10 * sizes[""], sizes


@pytest.mark.parametrize("stage", STAGES)
def test_notebooks_keep_the_spine(stage):
    nb = cells(stage)
    headings = [
        line
        for c in nb
        if c["cell_type"] == "markdown"
        for line in "".join(c["source"]).splitlines()
        if line.startswith("#")
    ]
    assert headings[0].startswith("# " + stage[:2])
    for wanted in ("## Inputs", "## Check", "## Plots", "## Saved files", "## What we learned"):
        assert any(h.startswith(wanted) for h in headings), wanted
    code = [c for c in nb if c["cell_type"] == "code"]
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    assert all(len(c["source"]) <= 15 for c in code if "parameters" not in c["metadata"].get("tags", []))
    assert "run.publish(" in "".join(code[-1]["source"])
    names = set(SCHEMAS[stage].model_fields)
    assigned = global_names(ast.parse("\n".join("".join(c["source"]) for c in code[3:])))
    assert not names & assigned, f"these cells overwrite parameters: {names & assigned}"
    if stage != "01_data_mix":
        assert "probe()" in "".join(code[3]["source"]), (
            "the stage must stop before any work where there is no jail"
        )


def is_nested(comprehension: ast.AST) -> bool:
    return any(isinstance(n, COMPREHENSIONS) for n in ast.walk(comprehension) if n is not comprehension)


@pytest.mark.parametrize("stage", RECIPE_FIRST)
def test_the_recipe_stands_before_the_studies(stage):
    nb = cells(stage)
    texts = ["".join(c["source"]) for c in nb]
    prose = "\n".join(t for t, c in zip(texts, nb, strict=True) if c["cell_type"] == "markdown")
    assert "**What you will see.**" in texts[0] and "**How long.**" in texts[0]
    places = [prose.index(f"\n## {heading}") for heading in ("Inputs", "Check", "Studies", "Plots")]
    assert places == sorted(places)
    assert prose.count("\n## Studies") == 1 and "### What to try next" in texts[-1]
    tree = ast.parse("\n".join(t for t, c in zip(texts, nb, strict=True) if c["cell_type"] == "code"))
    found = [n for n in ast.walk(tree) if isinstance(n, COMPREHENSIONS) and is_nested(n)]
    assert not found, "a comprehension inside another: " + ast.unparse(found[0])


def test_02_shows_fg_wsd_in_ten_cells():
    """From the pools to its answers; three more say what trains beside it, for the studies."""
    nb = [("".join(c["source"]), c["cell_type"]) for c in cells("02_pretrain")]
    texts = [text for text, kind in nb if kind == "code" or text.startswith("## Studies")]
    first, last = (next(i for i, t in enumerate(texts) if call in t) for call in ("load_pool", "## Studies"))
    beside = [t for t in texts[first:last] if "jobs.append" in t]
    assert (last - first - len(beside), len(beside)) == (10, 3)


def run(*command: str, **extra: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "MPLBACKEND": "agg",
        **extra,
    }
    for name in ("NBKIT_ROOT", "NBKIT_SCHEMAS", "NBKIT_DATA_DIR"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """Outputs of one whole smoke run through the command line."""
    outputs = tmp_path_factory.mktemp("smoke")
    done = run("nbkit", "run", "--profile", "smoke", NBKIT_OUTPUTS=str(outputs))
    assert done.returncode == 0, done.stdout + done.stderr
    return outputs


def test_smoke_runs_end_to_end_and_reports(smoke):
    for stage in STAGES:
        assert (smoke / "smoke" / stage / "_SUCCESS").exists(), stage
        assert list((smoke / "smoke" / stage / "figures").glob("*.png")), stage
    index = (smoke / "smoke" / "report" / "index.html").read_text()
    assert all(stage in index for stage in STAGES) and "ten times its size" in index
    again = run("nbkit", "run", "--profile", "smoke", NBKIT_OUTPUTS=str(smoke))
    assert again.returncode == 0 and "started" not in again.stdout, again.stdout
    verified = run("nbkit", "verify", "--profile", "smoke", NBKIT_OUTPUTS=str(smoke))
    assert verified.returncode == 0, verified.stdout
    for checked in ("results RL: + preference: ok", "stage_gain DPD: ok", "ledger dpd: ok", "headline: ok"):
        assert checked in verified.stdout, checked
    assert "DIFFERS" not in verified.stdout and "not checked" not in verified.stdout


def test_two_runs_agree_cell_by_cell_and_metric_by_metric(smoke, tmp_path):
    books = [str(smoke / "smoke" / stage / f"{stage}.ipynb") for stage in STAGES]
    checked = run(
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout",
        "300",
        "-p",
        "no:cacheprovider",
        "-q",
        "-m",
        "",
        "-W",
        "default",
        f"--rootdir={ROOT}",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "nbval_options",
        *books,
        NBKIT_OUTPUTS=str(tmp_path),
        NBKIT_ROOT=str(ROOT),
    )
    assert checked.returncode == 0, checked.stdout[-6000:]
    for stage in STAGES:
        first, second = (
            (folder / "smoke" / stage / "metrics.json").read_bytes() for folder in (smoke, tmp_path)
        )
        assert first == second, f"{stage}: two runs with one seed differ"
    compared = run("nbkit", "compare", str(smoke / "smoke"), str(tmp_path / "smoke"))
    assert compared.returncode == 0 and " 0 do not agree" in compared.stdout, (
        compared.stdout + compared.stderr
    )
