"""No reference answer reaches the refinement loop: neither in its modules nor in the notebook."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

GOLD = (
    "nbkit.tasks.skills",
    "nbkit.tasks.world",
    "nbkit.tasks.sets",
    "nbkit.tasks.bank",
    "nbkit.refine.teacher_data",
)


def imported(module: str, seen: set[str]) -> set[str]:
    """The modules of nbkit that `module` imports, directly or not; into the verifiers themselves it does not
    go: they are handed answers, they do not fetch any."""
    spec = importlib.util.find_spec(module)
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            package = module if spec.submodule_search_locations else module.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("nbkit") and name not in seen and _is_module(name):
                seen.add(name)
                if not name.startswith("nbkit.verify"):
                    imported(name, seen)
    return seen


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("module", ["checklist", "critique", "findings", "prompts", "loop", "reconstruct"])
def test_modules_of_the_loop_cannot_reach_reference_answers(module):
    found = imported(f"nbkit.refine.{module}", set())
    assert not [name for name in found if name.startswith((*GOLD, "nbkit.evals"))]
    verifiers = {name.removeprefix("nbkit.verify.") for name in found if name.startswith("nbkit.verify.")}
    tools = {"answers", "answers.compare", "answers.extract", "answers.extract.answer", "jail", "jail.jail"}
    tools |= {"jail.results"}
    tools |= {"code", "code.blocks", "code.grade", "code.suites", "errors"}
    tools |= {
        "jail.results"
    }  # the type of a call that raised, which stood in one of the above before the move
    assert verifiers <= tools, "tools that are handed everything they compare"
    assert GOLD[0] in imported("nbkit.refine.teacher_data", set()), "the walk finds what is there"


def test_the_notebook_lets_no_reference_answer_into_the_loop():
    """No cell that makes what the loop reads or decides names a verifier, a mark or an answer."""
    cells = json.loads((Path(__file__).parents[2] / "notebooks" / "04_sft_overall.ipynb").read_text())[
        "cells"
    ]
    loop = {"asked", "parts", "refined", "usable", "solved", "built", "kept", "rebuilt", "everyone", "trusty"}
    forbidden = {
        "verify",
        "verdicts",
        "leads",
        "all_lead",
        "answer",
        "steps",
        "chain_of",
        "right",
        "right_QK",
        "lead",
    }
    made = set()
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        nodes = list(ast.walk(ast.parse("".join(cell["source"]))))
        stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if stored & loop:
            made |= stored & loop
            read = {n.id for n in nodes if isinstance(n, ast.Name)} | {
                n.attr for n in nodes if isinstance(n, ast.Attribute)
            }
            assert not read & forbidden, (stored & loop, read & forbidden)
    assert made == loop
