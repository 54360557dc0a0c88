"""Checkpoints of a transformers.Trainer that are whole or absent, and proven whole before they are used.
Used by 02.

    class MyTrainer(AtomicCheckpoints, Trainer): ...
    trainer.identity = {"plan": [...], "seed": 0, ...}       # what decides the result, as plain data
    resume, skipped = newest_valid(out, trainer.identity)    # Path or None, and why newer ones were skipped
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)

A save goes to `.incoming-<step>/`, gets a manifest with the sha256 of every file, is fsynced, then renamed to
`checkpoint-<step>`. A kill or a full disk leaves the checkpoints before it as they were. Nothing else would
notice damage: torch.load and safetensors read a tensor with a flipped bit without a word.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nbkit.run import files

MANIFEST = "checkpoint.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_INCOMING, _OUTGOING = ".incoming-", ".outgoing-"


class AtomicCheckpoints:
    """Mixin, left of `Trainer`: saves as above, then keeps the newest `save_total_limit` checkpoints and
    those of the steps in `keep_at`. Works with any number of ranks on one shared folder.

    Every rank writes its own files (random state, FSDP shards); rank 0 alone seals, renames and removes.
    `load_best_model_at_end` is not supported: transformers looks for the best checkpoint before the rename.
    """

    identity: Mapping[str, Any]
    keep_at: Collection[int] = ()
    _incoming: Path | None = None

    def train(self, *args, **kwargs):
        # Rank 0 alone removes, and the others wait: none may start a save in a folder that is being cleared.
        if self.is_world_process_zero():
            sweep(Path(self.args.output_dir))
        self.accelerator.wait_for_everyone()
        return super().train(*args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        # While a save is under way transformers is pointed at the incoming folder, at no other time.
        return str(self._incoming or super()._get_output_dir(trial))

    def _save_checkpoint(self, model, trial) -> None:
        folder, step = Path(self._get_output_dir(trial)), self.state.global_step
        incoming = folder / f"{_INCOMING}{step}"
        self._incoming = incoming
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # the files of every rank are there
            if self.is_world_process_zero():
                publish(incoming / f"checkpoint-{step}", folder, self.identity)
                rotate(folder, step, self.args.save_total_limit, self.keep_at)
        except BaseException as error:
            shutil.rmtree(incoming, ignore_errors=True)  # its space may be what the user needs to go on
            if (disk := _disk_error(error)) is None:
                raise
            raise _explained(disk, folder, step) from error
        finally:
            self._incoming = None
        self.accelerator.wait_for_everyone()


def publish(built: Path, folder: Path, identity: Mapping[str, Any]) -> Path:
    """Seal a finished `.incoming-<step>/checkpoint-<step>` with its manifest and move it into `folder`."""
    # The manifest comes last: a folder without one never finished.
    body = {
        "step": step_of(built),
        "identity": files.plain(identity, "identity"),
        "files": _contents(built),
    }
    (built / MANIFEST).write_text(_render(body), encoding="utf-8")
    # Contents on disk before the name, then the name itself: a power cut must not leave an empty checkpoint.
    files._fsync_tree(built)
    final = folder / built.name
    if final.exists():  # a damaged one that the resume skipped
        _remove(final)
    os.replace(built, final)
    files._fsync(folder)
    shutil.rmtree(built.parent)  # rmdir would stop at the .DS_Store of a file browser
    return final


def rotate(folder: Path, step: int, limit: int | None, keep_at: Collection[int] = ()) -> None:
    """Keep the newest `limit` checkpoints up to `step` (None or 0: all) and those of the steps in `keep_at`.

    The one of `step` was just sealed, so a valid one always stays. Newer ones, which the resume skipped, are
    neither counted nor removed: this run writes over them when it gets there.
    """
    ours = [c for c in checkpoints(folder) if step_of(c) <= step and step_of(c) not in keep_at]
    for old in ours[:-limit] if limit else []:
        _remove(old)


def sweep(folder: Path) -> None:
    """Remove what killed saves and removals left. Only before a run: it would take a running save's files."""
    for orphan in itertools.chain(folder.glob(f"{_INCOMING}*"), folder.glob(f"{_OUTGOING}*")):
        shutil.rmtree(orphan, ignore_errors=True)


def newest_valid(
    folder: str | Path, identity: Mapping[str, Any] | None = None
) -> tuple[Path | None, list[str]]:
    """The newest checkpoint in `folder` whose manifest and sha256 all fit, and one line on what is wrong with
    each newer one. `folder` may also be a checkpoint itself; then only that one counts.

    Raises ValueError if it was made with another `identity` (None: any), naming what differs.
    """
    folder, skipped = Path(folder), []
    # From the newest back, until one proves whole; the caller tells which were skipped.
    for checkpoint in [folder] if step_of(folder) is not None else reversed(checkpoints(folder)):
        if wrong := damage(checkpoint):
            skipped.append(f"{checkpoint.name}: {wrong}")
            continue
        if identity is not None:
            remedy = f"delete {checkpoint.parent} to start over"
            _same(
                manifest(checkpoint)["identity"], files.plain(identity, "identity"), str(checkpoint), remedy
            )
        return checkpoint, skipped
    return None, skipped


def starts_like(theirs: Mapping[str, Any], ours: Mapping[str, Any], tokens_seen: int) -> None:
    """Raise ValueError unless a run of identity `ours` can continue one of identity `theirs` after
    `tokens_seen` tokens: all is equal but the stages of `plan` that begin later."""
    theirs, ours = files.plain(theirs, "identity"), files.plain(ours, "identity")
    where = f"the checkpoint to branch from, after {tokens_seen:,} tokens,"
    _same(
        _so_far(theirs, tokens_seen),
        _so_far(ours, tokens_seen),
        where,
        "branch from a checkpoint of this plan",
    )


def branch(checkpoint: Path, own: dict) -> Path:
    """A valid checkpoint of another run, whose plan is the same up to there."""
    found, problems = newest_valid(checkpoint, None)
    if found is None:
        raise ValueError(f"branch_from: {checkpoint} is no valid checkpoint: {'; '.join(problems)}")
    starts_like(manifest(found)["identity"], own, step_of(found) * own["batch_tokens"])
    return found


def _so_far(identity: dict, tokens_seen: int) -> dict:
    # Stages that had begun by then decide the weights; later ones may differ between branches.
    starts = itertools.accumulate((sum(s["tokens"].values()) for s in identity["plan"]), initial=0)
    begun = [s for s, start in zip(identity["plan"], starts, strict=False) if start < tokens_seen]
    return identity | {"plan": begun}


def _same(theirs: dict, ours: dict, what: str, remedy: str) -> None:
    if changed := differences(theirs, ours):
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ValueError(
            f"{what} was made by another run (was -> is now): {'; '.join(changed[:5])}{more}. "
            f"Set these back to continue it, or {remedy}"
        )


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Where two pieces of plain data differ, as 'plan[2].tokens.hq 4096 -> 8192'."""
    if isinstance(old, dict) and isinstance(new, dict):
        dot = f"{name}." if name else ""
        # Keys of either side: what only one of them has differs from "absent".
        pairs = [(f"{dot}{k}", old.get(k, "absent"), new.get(k, "absent")) for k in old | new]
    elif isinstance(old, list) and isinstance(new, list):
        longest = itertools.zip_longest(old, new, fillvalue="absent")
        pairs = [(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(longest)]
    else:
        return [] if old == new else [f"{name} {old!r} -> {new!r}"]
    return [line for key, a, b in pairs for line in differences(a, b, key)]


def step_of(checkpoint: Path) -> int | None:
    """The step in a checkpoint's name; None for any other name."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found[1]) if found else None


def checkpoints(folder: Path) -> list[Path]:
    """The folders checkpoint-<step> in `folder`, oldest step first, whole or not."""
    found = [p for p in folder.glob("checkpoint-*") if p.is_dir() and step_of(p) is not None]
    return sorted(found, key=step_of)


def manifest(checkpoint: Path) -> dict:
    """`step`, `identity`, `files` of a checkpoint. Raises ValueError if a single byte of it was altered."""
    text = (checkpoint / MANIFEST).read_text(encoding="utf-8")
    found = json.loads(text)
    # The manifest's own hash is over the text as it was written, so a single flipped byte shows.
    body = {key: found.get(key) for key in ("step", "identity", "files")}
    if text != _render(body):
        raise ValueError("it does not match its own sha256")
    return body


def damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint: its manifest, a missing, extra or altered file; "" if it is whole.
    What file browsers and editors leave behind is no extra file (files.is_clutter)."""
    # Cheap signs first: a missing manifest, a renamed folder; then every file is hashed.
    try:
        body = manifest(checkpoint)
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but no object
        return f"{MANIFEST} is damaged: {error}"
    if body["step"] != step_of(checkpoint):
        return f"the folder was renamed, {MANIFEST} says step {body['step']}"
    try:
        wrong = differences(body["files"], _contents(checkpoint, body["files"]))
    except OSError as error:
        return f"cannot be read: {error}"
    return f"(wanted -> found) {'; '.join(wrong)}" if wrong else ""


def _render(body: dict) -> str:
    return json.dumps(body | {"sha256": files.digest(body)}, indent=1) + "\n"


def _contents(folder: Path, listed: Collection[str] = ()) -> dict[str, dict]:
    """Size in bytes and sha256 of every file below `folder` but the manifest, by relative name; of clutter
    only what is `listed`."""
    paths = files.files_in(folder, listed)
    paths.pop(MANIFEST, None)
    with ThreadPoolExecutor() as pool:  # hashlib lets go of the interpreter lock
        hashes = pool.map(files.sha256, paths.values())
        return {
            name: {"size": path.stat().st_size, "sha256": digest}
            for (name, path), digest in zip(paths.items(), hashes, strict=True)
        }


def _remove(checkpoint: Path) -> None:
    """Rename, then delete: a kill in between must not leave half a checkpoint under its name."""
    gone = checkpoint.with_name(f"{_OUTGOING}{checkpoint.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(checkpoint, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _disk_error(error: BaseException) -> OSError | None:
    """The OSError in `error`, or None. safetensors and torch's zip writer raise other types, with the errno
    as text (`os error 28`) or not at all (`enforce fail at inline_container.cc`)."""
    # What a full disk looks like depends on which library was writing.
    if isinstance(error, OSError):
        return error
    found = re.search(r"(?:os error|Errno) (\d+)|PytorchStreamWriter|inline_container", str(error))
    if not found:
        return None
    if not found[1]:
        return OSError(errno.EIO, "torch could not write a file to its end; is the disk full?")
    return OSError(int(found[1]), os.strerror(int(found[1])))


def _explained(error: OSError, folder: Path, step: int) -> OSError:
    kept = ", ".join(c.name for c in checkpoints(folder)) or "none yet"
    return OSError(
        error.errno,
        f"cannot write in {folder} the checkpoint of step {step}: {error.strerror or error}; free space "
        f"there or fix its permissions, then run again to go on from the newest kept ({kept})",
    )
