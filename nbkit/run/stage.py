"""begin(), end() and the Run: strict parameters, run folder, verified inputs, artifacts, manifest, _SUCCESS.

Every notebook uses it, alike under papermill, nbval, nbconvert and Jupyter, where cells may be re-run.

    run = nbkit.begin(globals(), "02_pretrain")                       # before the parameters cell
    cfg = nbkit.end(globals())                                        # after it
    pool = run.input("01_data_mix", "pools/hq.npy")                   # verified upstream artifact
    model = run.once("model", lambda folder: train(cfg, folder))      # resumes: built once per content
    run.record(accuracy=0.43); run.figure(fig, "loss"); run.publish({"accuracy": 0.43})
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from nbkit.run import files, params, progress, provenance
from nbkit.run.files import plain
from nbkit.run.opening import open_folder, seed_everything, set_precision, set_tracking
from nbkit.run.provenance import code_of, fingerprint, notebook_hash

__all__ = ["Run", "begin", "end"]
_SLOT = "_nbkit_run"
_PLAIN = (bool, int, float, str, list, tuple, dict, set, type(None))
_RESERVED = {
    "_SUCCESS",
    "manifest.json",
    "metrics.json",
    "code.diff",
    "resources.json",
    progress.FILE,
    progress.CELL,
}


def begin(namespace: dict[str, Any], stage: str) -> Run:
    """Note which names exist before the parameters cell. `namespace` is the notebook's globals()."""
    stage = params.resolve_stage(stage)
    before = namespace.get(_SLOT)
    if isinstance(before, Run) and before.cfg is not None:
        for name in vars(before.cfg):  # cell A run again: only what cell B now says may count
            namespace.pop(name, None)
    run = Run(stage, frozenset(namespace))
    namespace[_SLOT] = run
    return run


def end(namespace: dict[str, Any]) -> Any:
    """Check the parameters against the stage's schema and open the run; returns the frozen config.

    Sets the globals to the coerced values, makes the run folder, withdraws an old `_SUCCESS`, seeds, and
    prints one line. Raises ValueError (bad or unknown parameter) or OSError (folder not writable).
    """
    run = namespace.get(_SLOT)
    if not isinstance(run, Run):
        raise ValueError(
            "nbkit.end(globals()) found no run; first run the cell with nbkit.begin(globals(), stage)"
        )
    schema = params.schemas()[run.stage]
    known = {name for name in namespace if name in schema.model_fields}
    # Names new since cell A are parameters, misspelt ones too; on a re-run they may be the notebook's own.
    fresh = {n for n in namespace if run.cfg is None and n not in run.before and _is_value(n, namespace)}
    cfg = params.coerce(
        schema, {name: namespace[name] for name in namespace if name in known | fresh}, run.stage
    )
    run.open(cfg)
    namespace.update(vars(cfg))
    return cfg


def _is_value(name: str, namespace: Mapping[str, Any]) -> bool:
    return not name.startswith("_") and name not in ("In", "Out") and isinstance(namespace[name], _PLAIN)


class Run:
    """One execution of one stage: its config (`cfg`), folder (`dir`), inputs, outputs and metrics."""

    def __init__(self, stage: str, before: frozenset[str]) -> None:
        self.stage, self.before = stage, before
        self.cfg: Any = None
        self.profile = ""

    def open(self, cfg: Any) -> None:
        """Start (or restart) the run with a checked config; called by `end`."""
        self.cfg, self.profile = cfg, cfg.profile
        self._dir = provenance.run_dir(cfg.profile, self.stage)
        self._inputs: dict[str, dict[str, str]] = {}
        self._outputs: set[str] = set()
        self._metrics: dict[str, Any] = {}
        self._seconds: dict[str, float] = {}
        self._reused: list[str] = []
        # Hashed now: these are the sources this process runs, whatever is edited meanwhile.
        self._code, self._notebook = code_of(self.stage), notebook_hash(self.stage)
        self._started = time.monotonic()
        open_folder(self._dir)
        progress.report_to(self._dir / progress.FILE)
        seed_everything(cfg.seed)
        self._precision = set_precision(cfg)
        set_tracking(cfg, self._dir.parent / "tracking")
        git, _ = provenance.git_state()
        commit = (git["commit"] or "no commit")[:9] + ("+dirty" if git["dirty"] else "")
        torch = getattr(sys.modules.get("torch"), "__version__", "absent")
        python = ".".join(map(str, sys.version_info[:3]))
        print(
            f"{self.stage} | profile {cfg.profile} | seed {cfg.seed} | python {python} | torch {torch} | "
            f"{' '.join(filter(None, [provenance.device(), self._precision]))} | {commit}"
        )

    @property
    def dir(self) -> Path:
        """The run folder, `<outputs>/<profile>/<stage>`."""
        if self.cfg is None:
            raise ValueError("the run is not open; run the cell with cfg = nbkit.end(globals()) first")
        return self._dir

    def input(self, stage: str, name: str) -> Path:
        """Path of an artifact an upstream stage published, its content verified; recorded in the manifest.

        Raises ValueError when the stage has not finished, was changed after it was published, or rests on
        inputs that changed since; the message gives the command that mends it.
        """
        assert self.dir
        stage = params.resolve_stage(stage)
        remake = f"run `nbkit run --profile {self.profile} --only {stage.partition('_')[0]}`"
        # Why it cannot be read decides what helps; the message names the command for each case.
        state, reason, manifest = provenance.load_manifest(self.profile, stage)
        if state == "missing":
            raise ValueError(f"{self.stage} needs {stage}, which is missing ({reason}); {remake} first")
        if state == "corrupt":
            raise ValueError(f"{self.stage} needs {stage}, which is damaged: {reason}; {remake} again")
        if state == "stale":
            raise ValueError(f"{self.stage} needs {stage}, which is stale: {reason}; {remake} again")
        if name not in manifest["outputs"]:
            known = list(manifest["outputs"])
            raise ValueError(
                f"{stage} published no {name!r}{params.nearest(name, known)}; it has: {', '.join(known)}"
            )
        # The artifact may be whole and yet rest on inputs that changed since.
        if why := provenance.changed_inputs(self.profile, manifest):
            raise ValueError(f"{self.stage} needs {stage}, which is stale: {why}; {remake} again")
        path = provenance.run_dir(self.profile, stage) / name
        wanted = manifest["outputs"][name]["sha256"]
        # Hashed at every reading: a file edited by hand must not pass for the published one.
        with progress.doing(f"hashing {name} of {stage}"):
            same = path.exists() and files.sha256(path) == wanted
        if not same:
            raise ValueError(f"{path} is not what {stage} published (its sha256 differs); {remake} again")
        self._inputs[f"{stage}/{name}"] = {"sha256": wanted, "manifest": provenance.manifest_id(manifest)}
        return path

    def metrics_of(self, stage: str) -> dict[str, Any]:
        """The metrics an upstream stage recorded (counts as an input)."""
        return files.read_json(self.input(stage, "metrics.json"))

    def params_of(self, stage: str) -> dict[str, Any]:
        """The parameters an upstream stage ran with (counts as an input)."""
        self.input(stage, "metrics.json")
        return provenance.load_manifest(self.profile, params.resolve_stage(stage))[2]["params"]

    @contextlib.contextmanager
    def artifact(self, name: str) -> Iterator[Path]:
        """Yield a temporary path for the caller to write; published as `name` on a clean exit."""
        with files.atomic_file(self._place(name)) as temp:
            yield temp
        self._outputs.add(name)

    @contextlib.contextmanager
    def artifact_dir(self, name: str) -> Iterator[Path]:
        """As `artifact`, for a folder."""
        with files.atomic_dir(self._place(name)) as temp:
            yield temp
        self._outputs.add(name)

    def _place(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or name in _RESERVED:
            raise ValueError(
                f"artifact name {name!r} must be a plain path inside the run folder, and not reserved"
            )
        return self.dir / name

    def once(self, name: str, build: Callable[[Path], Any], **key: Any) -> Path:
        """An expensive step, kept across runs: `build(folder)` fills the artifact folder `name`, once.

        Reused only when its content is whole and config, nbkit, notebook, inputs so far and `key` are equal.
        """
        place, made_from = self._place(name), self.made_from(**key)
        with progress.doing(f"hashing {name}"):
            whole = self._is_whole(place, made_from)
        if whole:
            print(f"{name}: reused")
            self._reused.append(name)
        else:
            with progress.doing(name) as part, files.atomic_dir(place) as temp:
                build(temp)
                part.rename(f"saving {name}")
                content = files.sha256(temp, skip=("_step.json",))
                files.write_json(temp / "_step.json", {"made_from": made_from, "content": content})
        self._outputs.add(name)
        return place

    def made_from(self, **key: Any) -> str:
        """Hash of config, nbkit, notebook, inputs so far and `key`: what the result of a step depends on."""
        known = {"params": vars(self.cfg), "inputs": self._inputs, "code": self._code}
        return files.digest(known | {"notebook": self._notebook, "key": plain(key)})

    @staticmethod
    def _is_whole(place: Path, made_from: str) -> bool:
        try:
            step = files.read_json(place / "_step.json")
        except (OSError, ValueError):
            return False
        whole = {"made_from": made_from, "content": files.sha256(place, skip=("_step.json",))}
        return step == whole

    def record(self, **values: Any) -> None:
        """Add metrics: numbers, text, nested dicts. No times or paths: equal seeds, equal bytes."""
        assert self.dir
        self._metrics.update({name: plain(value, name) for name, value in values.items()})

    def timing(self, **seconds: float) -> None:
        """Add durations in seconds; they go to the manifest, never to metrics.json."""
        self._seconds.update({name: float(plain(value, name)) for name, value in seconds.items()})

    def log(self, name: str, rows: list[dict[str, Any]]) -> Path:
        """Write `rows` as logs/<name>.jsonl, an artifact."""
        with self.artifact(f"logs/{name}.jsonl") as temp:
            temp.write_text("".join(json.dumps(plain(row, name)) + "\n" for row in rows))
        return self.dir / f"logs/{name}.jsonl"

    def figure(self, fig: Any, name: str) -> Path:
        """Save a matplotlib figure as figures/<name>.png (120 dpi), show it in the notebook, and close it."""
        with self.artifact(f"figures/{name}.png") as temp:
            fig.savefig(temp, dpi=120, bbox_inches="tight", metadata={"Software": None})
        path = self.dir / f"figures/{name}.png"
        if "IPython" in sys.modules:
            from IPython import display, get_ipython  # noqa: PLC0415 (a plain process has none)

            if get_ipython() is not None:
                display.display(display.Image(path.read_bytes()))
        if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
            pyplot.close(fig)
        return path

    def progress(self, text: str) -> None:
        """Show `text` on the live line of `nbkit run` until the cell ends or something else is said."""
        assert self.dir
        progress.say(text)

    def publish(self, headline: Mapping[str, str | float]) -> None:
        """Last cell: write metrics.json, manifest.json and then `_SUCCESS`; prints the headline numbers."""
        files.write_json(self.dir / "metrics.json", self._metrics)
        git, diff = provenance.git_state()
        names = {"metrics.json", *self._outputs}
        # Uncommitted changes go beside the result: the commit alone would not say what ran.
        if diff:
            files.atomic_write(self.dir / "code.diff", diff)
        else:
            (self.dir / "code.diff").unlink(missing_ok=True)
        # A folder cleaned by hand between cells must not be published as if it were whole.
        if gone := sorted(n for n in names if not (self.dir / n).exists()):
            raise ValueError(
                f"{gone[0]} was made in this run but is gone from {self.dir}; re-run the notebook"
            )
        paths = {name: self.dir / name for name in sorted(names)}
        with progress.doing("hashing what was made"):
            made = {n: {"sha256": files.sha256(p), "bytes": files.size_of(p)} for n, p in paths.items()}
        manifest = {
            "format": provenance.FORMAT,
            "stage": self.stage,
            "profile": self.profile,
            "params": vars(self.cfg),
            "seed": self.cfg.seed,
            "git": git,
            **provenance.environment(),
            "precision": self._precision or None,
            "wall_s": round(time.monotonic() - self._started, 2),
            "peak_rss_mb": provenance.peak_rss_mb(),
            "timing_s": self._seconds,
            "reused": self._reused,
            "headline": plain(headline, "headline"),
            "notebook": self._notebook,
            "code": self._code,
            "fingerprint": fingerprint(self.stage, vars(self.cfg), self._code, self._notebook),
            "inputs": self._inputs,
            "outputs": made,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # In this order a kill leaves no `_SUCCESS` that vouches for another manifest.
        (self.dir / "_SUCCESS").unlink(missing_ok=True)
        files.write_json(self.dir / "manifest.json", manifest)
        files.atomic_write(self.dir / "_SUCCESS", files.sha256(self.dir / "manifest.json") + "\n")
        for name, value in manifest["headline"].items():
            print(f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}")
