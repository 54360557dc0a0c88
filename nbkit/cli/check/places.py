"""Where a run lies: a profile of the outputs folder, or any folder of stages. Used by verify and compare.

place = find("small")                    # outputs/small, the stages of the project
place = find("/copied/from/elsewhere")   # a folder that holds 02_pretrain, 07_eval, ...
place = find("outputs/small/07_eval")    # one stage alone
stage = place.read("07_eval")            # state, manifest and folder of one stage
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbkit.run import files, params, provenance


@dataclass(frozen=True)
class Stage:
    """One stage of a run as it lies on disk. `state` and `reason` as `provenance.load_manifest` says them;
    `manifest` is {} unless the state is "complete"."""

    name: str
    folder: Path
    state: str
    reason: str
    manifest: Mapping[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json. Raises FileNotFoundError where it is gone, ValueError where it is no JSON."""
        return files.read_json(self.folder / "metrics.json")


@dataclass(frozen=True)
class Place:
    """A folder of stages, and those of them that are asked about, in pipeline order. `name`: as it was
    given."""

    name: str
    home: Path
    stages: tuple[str, ...]

    def read(self, stage: str) -> Stage:
        """One stage; a manifest that cannot be read makes it "corrupt", never an error."""
        # An absolute folder in place of the profile's name: joined to the outputs root, it stands alone.
        try:
            state, reason, manifest = provenance.load_manifest(str(self.home), stage)
        except ValueError as error:
            state, reason, manifest = "corrupt", f"manifest.json is not valid JSON ({error})", {}
        return Stage(stage, self.home / stage, state, reason, manifest)


def find(text: str) -> Place:
    """The run that a user means by `text`: a profile, a folder of stages, or the folder of one stage.

    A profile wins over a folder of the same name; ./NAME is the folder. Raises ValueError for anything else.
    """
    known = tuple(params.schemas())
    if text in params.profiles():
        return Place(text, (files.outputs_root() / text).absolute(), known)
    folder = Path(text).absolute()
    if not folder.is_dir():
        near = params.nearest(text, params.profiles())
        raise ValueError(
            f"RUN: got {text!r}, wanted a profile or the folder of a run{near}; profiles: "
            f"{', '.join(params.profiles())}; `nbkit run --profile NAME` makes a run"
        )
    if folder.name in known:
        return Place(text, folder.parent, (folder.name,))
    if not any((folder / stage).is_dir() for stage in known):
        if any((folder / f"{stage}.json").is_file() for stage in known):
            # Numbers published from a run, without the manifests that say what they were made with.
            raise ValueError(
                f"RUN: {text} holds published metrics ({known[0]}.json, ...), not a run, which has a folder "
                "with a manifest for each stage. Make a run with `nbkit run --profile NAME` and give that; "
                "docs/results.md shows the published numbers"
            )
        raise ValueError(
            f"RUN: {text} holds no folder of a stage ({known[0]} to {known[-1]}); give the folder that does, "
            "such as outputs/small"
        )
    return Place(text, folder, known)
