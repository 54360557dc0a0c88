"""A finished run becomes a committed measurement, or is refused with what to do."""

import hashlib
import json

import pytest

from nbkit.cli.results import publish
from nbkit.cli.results.reference import Reference
from nbkit.run import params
from nbkit.run.provenance import FORMAT

MANIFEST = {
    "format": FORMAT,
    "inputs": {},
    "outputs": {},
    "git": {"commit": "abcdef0123", "dirty": False},
    "reused": [],
    "cores": 2,
    "cpu": "Some CPU",
    "device": "cpu",
    "precision": "fp32",
    "seed": 3,
    "wall_s": 61.4,
}


def vouch(folder, manifest) -> None:
    """Write the manifest as a finished stage does."""
    text = json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    (folder / "_SUCCESS").write_text(hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A whole run, and where measurements are kept."""
    monkeypatch.setenv("NBKIT_OUTPUTS", str(tmp_path))
    for stage in params.schemas():
        folder = tmp_path / "small" / stage
        folder.mkdir(parents=True)
        vouch(folder, MANIFEST)
        (folder / "metrics.json").write_text(json.dumps({"of": stage}))
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "sources.json").write_text("{}")
    (tmp_path / "reference" / "timings.json").write_text('{"smoke": {"01_data_mix": 1}}')
    return tmp_path


def test_metrics_source_and_time_are_kept(made):
    names = publish.publish("small", made / "reference")
    reference = Reference(made / "reference")
    assert names == [f"small/{stage}.json" for stage in params.schemas()]
    assert all(reference.read(name) == {"of": name.removeprefix("small/")[:-5]} for name in names)
    assert reference.commit(names[0]) == "abcdef0"
    source = reference.read("sources.json")[names[0]]
    assert source["machine"] == "2 cores, Some CPU, cpu, fp32" and source["note"] == "one seed (3)"
    assert reference.read("timings.json") == {
        "smoke": {"01_data_mix": 1},
        "small": dict.fromkeys(params.schemas(), 61),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT - 1}, "made by an older nbkit.*nbkit run --profile small --only 04"),
        ({"outputs": {"gone": {"sha256": "x"}}}, "gone.*--only 04"),
        ({"git": {"commit": "abc", "dirty": True}}, "no commit holds"),
        ({"git": {"commit": None, "dirty": False}}, "no commit holds"),
        ({"reused": ["student_fg"]}, "student_fg reused"),
    ],
)
def test_a_run_whose_numbers_could_not_be_placed_is_refused(made, change, message):
    vouch(made / "small" / "04_sft_overall", MANIFEST | change)
    with pytest.raises(ValueError, match=message):
        publish.publish("small", made / "reference")
    assert not (made / "reference" / "small").exists()


def test_a_stage_that_never_finished_is_refused(made):
    (made / "small" / "07_eval" / "_SUCCESS").unlink()
    with pytest.raises(ValueError, match="07_eval: not finished: .*; make it with"):
        publish.publish("small", made / "reference")
