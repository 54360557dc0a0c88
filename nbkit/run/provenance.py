"""What a published run was made of, and whether it still holds. Used by stage.py and the command line.

A stage is complete when `_SUCCESS` holds the sha256 of `manifest.json`, every output has the hash the
manifest gives, its fingerprint (notebook code, parameters, the modules that the notebook can run: closure.py)
is today's, and every upstream it read is still the one it read and no older than its own code.

    outputs/<profile>/<stage>/   metrics.json  manifest.json  _SUCCESS  figures/  logs/  <artifacts>
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from nbkit.run import closure, files, params

Status = Literal["missing", "complete", "stale", "corrupt"]
FORMAT = 2  # of manifest.json; 1 had no record of the code, and one hash over all of it
PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "numpy",
    "scikit-learn",
    "papermill",
    "nbkit",
)


def run_dir(profile: str, stage: str) -> Path:
    """`<outputs>/<profile>/<stage>`."""
    return files.outputs_root() / profile / stage


def notebook_path(stage: str) -> Path:
    """The notebook of a stage; ValueError when the project has none."""
    path = files.of_project(f"notebooks/{stage}.ipynb")
    if not path.is_file():
        raise ValueError(f"no notebook {path}; restore it or check the stage's name")
    return path


def code_of(stage: str) -> dict[str, str]:
    """File of nbkit -> hash of what it does, for all that the notebook of a stage can run."""
    return closure.module_hashes(notebook_path(stage))


def notebook_hash(stage: str) -> str:
    """Hash of what the notebook's code cells do; prose, outputs and comments do not count."""
    return files.digest([closure.code_digest(cell) for cell in closure.code_cells(notebook_path(stage))])


def fingerprint(
    stage: str,
    values: Mapping[str, Any],
    code: Mapping[str, str] | None = None,
    notebook: str | None = None,
) -> str:
    """One hash of what a stage's result depends on besides its inputs; `values`: the coerced parameters."""
    code, notebook = code or code_of(stage), notebook or notebook_hash(stage)
    return files.digest({"code": dict(code), "notebook": notebook, "params": dict(values)})


def manifest_id(manifest: Mapping[str, Any]) -> str:
    """Identity of a published result. Without times and machine: an equal rerun keeps downstream valid."""
    outputs = {name: entry["sha256"] for name, entry in manifest["outputs"].items()}
    return files.digest({"fingerprint": manifest["fingerprint"], "outputs": outputs})


def load_manifest(profile: str, stage: str) -> tuple[Status, str, dict[str, Any]]:
    """("complete" | "missing" | "corrupt" | "stale", reason, manifest) from `_SUCCESS` and `manifest.json`
    alone. "stale" here: written by an nbkit whose manifests this one cannot read. The manifest is {} unless
    it is "complete", so that nobody takes a value of another format for one of this."""
    folder = run_dir(profile, stage)
    # `_SUCCESS` holds the hash of the manifest: one without the other proves nothing.
    try:
        claimed = (folder / "_SUCCESS").read_text().strip()
    except OSError:
        return (
            "missing",
            "not finished: it runs now, or was interrupted" if folder.is_dir() else "not run yet",
            {},
        )
    try:
        raw = (folder / "manifest.json").read_bytes()
    except OSError:
        return "corrupt", "manifest.json is gone", {}
    if hashlib.sha256(raw).hexdigest() != claimed:
        return "corrupt", "manifest.json differs from what _SUCCESS vouches for", {}
    # Whole, but of another format: its fields cannot be trusted to mean the same.
    manifest = json.loads(raw)
    if (found := manifest.get("format", 1)) != FORMAT:
        age = "an older" if found < FORMAT else "a newer"
        return "stale", f"made by {age} nbkit (manifest format {found}, this one has {FORMAT})", {}
    return "complete", "", manifest


def changed_inputs(
    profile: str, manifest: Mapping[str, Any], sources: bool = False, holding: set[str] | None = None
) -> str:
    """Why the recorded inputs no longer hold, upstream by upstream all the way up; "" when they do.

    With `sources`, an input also no longer holds when the code that made it has changed since. `holding`:
    stages that were looked at already; many stages read the same ones.
    """
    holding = set() if holding is None else holding
    for name, entry in manifest["inputs"].items():
        # Each input must be whole, the very one that was read, and itself still up to date.
        upstream = name.split("/", 1)[0]
        state, reason, current = load_manifest(profile, upstream)
        if state != "complete":
            return f"its input {upstream} is {state} ({reason})"
        if manifest_id(current) != entry["manifest"]:
            return f"{upstream} was made anew with another result since"
        if upstream in holding:
            continue
        if sources and (reason := _changed_sources(upstream, current, current["params"])):
            return f"its input {upstream} is stale: {reason}"
        if deeper := changed_inputs(profile, current, sources, holding):
            return f"its input {upstream} is stale: {deeper}"
        holding.add(upstream)
    return ""


def changed_outputs(profile: str, stage: str, manifest: Mapping[str, Any]) -> list[str]:
    """Published files whose content is not what the manifest says."""
    folder, wrong = run_dir(profile, stage), []
    for name, entry in manifest["outputs"].items():
        path = folder / name
        if not path.exists():
            wrong.append(f"{name} is gone")
        elif files.sha256(path) != entry["sha256"]:
            wrong.append(f"{name} was changed after it was published")
    return wrong


def status_of(
    stage: str, profile: str, overrides: Mapping[str, Any] | None = None, deep: bool = True
) -> tuple[Status, str]:
    """Is the published result of a stage still good? `deep` re-hashes its outputs.

    Returns ("missing" | "complete" | "stale" | "corrupt", reason). `overrides` are parameters on top of the
    profile's file. Raises ValueError for an unknown stage or profile and for parameters the schema refuses.
    """
    stage = params.resolve_stage(stage)
    config = params.coerce(
        params.schemas()[stage], {**params.load_profile(profile, stage), **(overrides or {})}, stage
    )
    # The manifest first, then the files it vouches for, today's code, and everything upstream.
    state, reason, manifest = load_manifest(profile, stage)
    if state != "complete":
        return state, reason
    if deep and (wrong := changed_outputs(profile, stage, manifest)):
        return "corrupt", "; ".join(wrong)
    if reason := _changed_sources(stage, manifest, vars(config)):
        return "stale", reason
    if reason := changed_inputs(profile, manifest, sources=True):
        return "stale", reason
    return "complete", ""


def _changed_sources(stage: str, manifest: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """What differs from the recorded run: parameters, notebook or modules of nbkit; "" when nothing does."""
    code = code_of(stage)
    if manifest["fingerprint"] == fingerprint(stage, values, code):
        return ""
    # What a user can recognise is named first: parameters, then the notebook, then modules.
    old = manifest["params"]
    if names := [n for n in sorted({*old, *values}) if old.get(n) != values.get(n)]:
        return f"parameters changed: {', '.join(names)}"
    if manifest["notebook"] != notebook_hash(stage):
        return "the notebook changed"
    before = manifest["code"]
    changed = [name for name in sorted({*before, *code}) if before.get(name) != code.get(name)]
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"nbkit changed: {', '.join(changed[:3])}{more}"


def git_state() -> tuple[dict[str, Any], str]:
    """({"commit", "dirty", "diff_sha256"}, uncommitted diff); commit None outside a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(files.project_root()), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD").strip() or None
    diff = git("diff", "HEAD") if commit else ""
    dirty = bool(git("status", "--porcelain").strip())
    sha = hashlib.sha256(diff.encode()).hexdigest() if diff else None
    return {"commit": commit, "dirty": dirty, "diff_sha256": sha}, diff


def environment() -> dict[str, Any]:
    """Package versions, python, platform, cpu, device and threads of this process. Touches no accelerator."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    # Only where the stage imported it: asking must not load torch.
    torch = sys.modules.get("torch")
    return {
        "packages": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "device": device(),
        "threads": torch.get_num_threads() if torch else None,
    }


def device() -> str:
    """ "cuda x2 (NVIDIA H100)", "mps" or "cpu"; the name only where CUDA already runs in this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        name = f" ({torch.cuda.get_device_name()})" if torch.cuda.is_initialized() else ""
        return f"cuda x{torch.cuda.device_count()}{name}"
    return "mps" if torch is not None and torch.backends.mps.is_available() else "cpu"


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Processor cores this process may use; all of the machine's where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss_mb() -> float:
    """Peak resident memory of this process or its largest child, MB (10^6 bytes); 0 where it is not told."""
    try:
        import resource  # noqa: PLC0415 (Windows has none)
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(w).ru_maxrss for w in who) * unit / 1e6, 1)
