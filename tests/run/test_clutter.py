"""What systems and editors leave in a folder changes nothing; what the kit wrote there always counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nbkit.pretrain import checkpoint
from nbkit.pretrain.checkpoint import damage, newest_valid, publish
from nbkit.run import files, params
from nbkit.run.provenance import status_of
from nbkit.run.stage import begin, end

LEFT_BEHIND = [
    ".DS_Store",
    "sub/.DS_Store",
    "._model.bin",
    "Thumbs.db",
    "desktop.ini",
    "Desktop.ini",
    ".directory",
    ".nfs0000000012ab",
    "config.json~",
    ".config.json.swp",
    ".#config.json",
    "#config.json#",
    ".ipynb_checkpoints/config-checkpoint.json",
    "sub/.ipynb_checkpoints/deep/x.txt",
    "__pycache__/a.cpython-311.pyc",
    "__MACOSX/._a",
    "@eaDir/a@SynoEAStream",
    ".idea/workspace.xml",
    ".Trash-1000/files/old.bin",
    ".~lock.notes.ods#",
    "~$notes.docx",
    ".model.bin.kate-swp",
    ".virtual_documents/notebooks/02.ipynb",
    "sub/.virtual_documents/x.py",
    "Icon\r",
    "sub/Icon\r",
    "Icon\uf00d",
    ".VolumeIcon.icns",
    ".apdisk",
    ".DocumentRevisions-V100/.cs/x",
    "Network Trash Folder/old.bin",
    "System Volume Information/IndexerVolumeGuid",
    "lost+found/#123",
    "#recycle/old.bin",
    ".goutputstream-X7YK92",
    ".smbdeleteAAA1a2b",
    ".jupyter_ystore.db",
    ".dropbox.cache/2026/a",
    ".pytest_cache/v/x",
    ".vs/slnx.sqlite",
]
CHANGES = [
    "notes.txt",
    "model.bin.bak",
    "model.bin.orig",
    ".hidden",
    ".metadata",
    "DS_Store",
    "pycache/a",
    "sub/_step.json",
    "a~b",
    "x.tmp",
    "Icon",
    "icon.png",
    "virtual_documents/a",
    "vs/a",
    "lost/found",
    "Dropbox/a",
]


def put(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")


@pytest.fixture
def sealed(tmp_path) -> Path:
    """A folder of checkpoints of the steps 10 and 20."""
    for step in (10, 20):
        built = tmp_path / f".incoming-{step}" / f"checkpoint-{step}"
        (built / "sub").mkdir(parents=True)
        (built / "model.bin").write_bytes(b"x" * 100)
        (built / "sub" / "shard.bin").write_bytes(b"y")
        publish(built, tmp_path, {"seed": 0})
    return tmp_path


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_clutter_changes_neither_artifact_nor_checkpoint(sealed, name):
    newest = sealed / "checkpoint-20"
    before, size = files.sha256(newest), files.size_of(newest)
    put(newest, name)
    assert files.sha256(newest) == before and files.size_of(newest) == size
    assert newest_valid(sealed, {"seed": 0}) == (newest, [])


@pytest.mark.parametrize("name", CHANGES)
def test_anything_else_counts(sealed, name):
    newest = sealed / "checkpoint-20"
    before = files.sha256(newest)
    put(newest, name)
    assert files.sha256(newest) != before
    found, skipped = newest_valid(sealed, {"seed": 0})
    assert found.name == "checkpoint-10" and name in skipped[0]


def test_a_listed_file_must_match_whatever_its_name(sealed):
    """A checkpoint whose manifest lists a file with a name of clutter, as versions before the list wrote."""
    newest = sealed / "checkpoint-20"
    put(newest, "Thumbs.db")
    body = checkpoint.manifest(newest)
    body["files"]["Thumbs.db"] = {"size": 4, "sha256": files.sha256(newest / "Thumbs.db")}
    (newest / checkpoint.MANIFEST).write_text(checkpoint._render(body))
    assert damage(newest) == ""
    put(newest, ".DS_Store")
    assert damage(newest) == ""
    (newest / "Thumbs.db").write_bytes(b"else")
    assert "Thumbs.db.sha256" in damage(newest)
    (newest / "Thumbs.db").unlink()
    assert "Thumbs.db" in damage(newest)


def test_clutter_in_the_way_of_a_save_is_removed(tmp_path):
    built = tmp_path / ".incoming-10" / "checkpoint-10"
    built.mkdir(parents=True)
    (built / "model.bin").write_bytes(b"x")
    put(built, ".DS_Store")
    put(built.parent, ".DS_Store")
    final = publish(built, tmp_path, {"seed": 0})
    assert list(checkpoint.manifest(final)["files"]) == ["model.bin"] and damage(final) == ""
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-10"]


def test_a_published_folder_stays_complete_and_reusable(project):
    built = []

    def play() -> Path:
        namespace: dict = {}
        run = begin(namespace, "01_make")
        namespace.update(profile="tiny", steps=4)
        end(namespace)

        def build(folder: Path) -> None:
            built.append(folder)
            (folder / "data.txt").write_text("1")

        run.once("pool", build)
        with run.artifact_dir("model") as temp:
            (temp / "weights.bin").write_bytes(b"123")
        run.publish({})
        return run.dir

    folder = play()
    for name in LEFT_BEHIND:
        put(folder / "pool", name)
        put(folder / "model", name)
        put(folder, name)
    assert status_of("01_make", "tiny") == ("complete", "")
    play()
    assert len(built) == 1, "the step is reused"
    (folder / "model" / "weights.bin").write_bytes(b"124")
    assert status_of("01_make", "tiny")[0] == "corrupt"


def test_copies_that_jupyter_keeps_are_no_profiles(project):
    (project / "params" / ".ipynb_checkpoints").mkdir()
    assert params.profiles() == ["other", "tiny"]


def test_a_glob_passes_over_copies_of_what_it_looks_for(tmp_path):
    for name in ("b.npy", "a.npy", "._a.npy", ".a.npy.swp", "a.npy~"):
        put(tmp_path, name)
    assert [p.name for p in files.named(tmp_path, "*.npy")] == ["a.npy", "b.npy"]


def test_nothing_the_kit_writes_has_such_a_name():
    """Names in quotes anywhere in the package, and those in the manifests of the committed reference runs."""
    package = Path(files.__file__).parents[1]
    quoted = {
        name
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if not line.startswith("_CLUTTER")  # the patterns themselves
        for name in re.findall(r'["/]([\w.#~-]+\.\w+)"', line)
    }
    own = {name for name in quoted if files.is_clutter(name)}
    assert len(quoted) > 50 and not {name for name in own if not name.startswith("._")}, own
    for path in (files.project_root() / "outputs" / "reference").rglob("manifest.json"):
        outputs = json.loads(path.read_text()).get("outputs", {})
        assert not [name for name in outputs if files.is_clutter(name)]
