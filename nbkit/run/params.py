"""Parameters where they are written: a notebook's parameters cell and the files under params/.

values = load_profile("smoke", "02_pretrain")                     # params/smoke/02_pretrain.yaml, as read
cfg = coerce(schemas()["02_pretrain"], values, "02_pretrain")     # checked, frozen (schemas/base.py)
vars(cfg)                                                         # name -> value; this is what is hashed
"""

from __future__ import annotations

import ast
import difflib
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nbkit.run import yaml_text
from nbkit.run.files import is_clutter, of_project

if TYPE_CHECKING:  # pydantic takes 0.1 s to import; `schemas` does it where a run begins
    from nbkit.run.schemas.base import Common

ACCELERATE = "accelerate"  # configurations of `accelerate launch`, beside the profiles
SchemaT = TypeVar("SchemaT", bound="Common")


def nearest(name: str, known: Sequence[str]) -> str:
    """ " (did you mean 'steps'?)", or "" when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def coerce(schema: type[SchemaT], values: Mapping[str, Any], stage: str = "") -> SchemaT:
    """The frozen parameters of `schema` from plain values; missing keys take their defaults. Raises one
    ValueError with a line per problem, each naming `stage` ("": the class)."""
    return schema.coerced(values, stage)


def schemas() -> dict[str, type[Common]]:
    """Stage name -> schema, in stage order, from nbkit.run.schemas:SCHEMAS or NBKIT_SCHEMAS="module:ATTR"."""
    module, _, attribute = os.environ.get("NBKIT_SCHEMAS", "nbkit.run.schemas:SCHEMAS").partition(":")
    return getattr(importlib.import_module(module), attribute or "SCHEMAS")


def resolve_stage(text: str) -> str:
    """The full name of "02", "02_pretrain" or "pretrain"; else a ValueError listing the stages."""
    names = list(schemas())
    # "02", "02_pretrain" and "pretrain" all name one stage.
    matches = [n for n in names if text in (n, n.partition("_")[0], n.partition("_")[2])]
    if len(matches) != 1:
        raise ValueError(f"unknown stage {text!r}{nearest(text, names)}; stages: {', '.join(names)}")
    return matches[0]


def profiles() -> list[str]:
    """Profiles that have a params/ folder; params/accelerate/ is none."""
    folders = [path for path in of_project("params").iterdir() if path.is_dir()]
    return sorted(p.name for p in folders if p.name != ACCELERATE and not is_clutter(p.name))


def load_profile(profile: str, stage: str) -> dict[str, Any]:
    """params/<profile>/<stage>.yaml as a flat dict (not yet coerced).

    The file must say `profile: <its folder>`, or plain papermill would write into another profile's outputs.
    """
    if profile not in profiles():
        known = profiles()
        raise ValueError(
            f"unknown profile {profile!r}{nearest(profile, known)}; profiles: {', '.join(known)}"
        )
    path = of_project(f"params/{profile}/{stage}.yaml")
    # A notebook without a file for this profile would run with its defaults, unnoticed.
    if not path.is_file():
        raise ValueError(f"profile {profile!r} has no {path.name}; add {path} or choose another profile")
    values = read_yaml(path)
    if values.get("profile") != profile:
        raise ValueError(f"{path}: has profile={values.get('profile')!r}; write `profile: {profile}` in it")
    return values


def read_yaml(path: Path, nested: bool = False) -> dict[str, Any]:
    """A YAML mapping (rules: yaml_text.py), flat unless `nested`; equal keys, keys that are no text and
    broken syntax are a ValueError naming the file."""
    try:
        found = yaml_text.read_mapping(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(found, dict) or not nested and any(type(v) is dict for v in found.values()):
        raise ValueError(
            f"{path}: wanted a flat mapping `key: value`, got {type(found).__name__} or nested keys"
        )
    if odd := [key for key in found if type(key) is not str]:
        raise ValueError(f"{path}: the key {odd[0]!r} is no name of a parameter")
    return found


def parameters_cell(notebook: str | Path) -> dict[str, tuple[str, Any]]:
    """name -> (annotation, value) of the cell tagged "parameters".

    Raises ValueError unless there is one such cell and it holds only `name: type = literal` lines.
    """
    cell = tagged_cell(json.loads(Path(notebook).read_text(encoding="utf-8")), notebook)
    found: dict[str, tuple[str, Any]] = {}
    # Only literals: the cell is read without being run, and papermill puts its values behind it.
    for node in ast.parse("".join(cell["source"])).body:
        try:
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
                raise ValueError("not an annotated assignment")
            value = ast.literal_eval(node.value)
        except ValueError:
            line = ast.unparse(node)
            raise ValueError(
                f"{notebook}: parameters cell may hold only `name: type = literal`; got `{line}`"
            ) from None
        if node.target.id in found:
            raise ValueError(f"{notebook}: parameter {node.target.id!r} stands twice in the parameters cell")
        found[node.target.id] = (ast.unparse(node.annotation), value)
    return found


def tagged_cell(content: Mapping[str, Any], notebook: str | Path) -> dict[str, Any]:
    """The one cell of a notebook's JSON that is tagged "parameters"; ValueError naming the file otherwise."""
    tagged = [c for c in content["cells"] if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: wanted exactly one cell tagged 'parameters', found {len(tagged)}")
    return tagged[0]
