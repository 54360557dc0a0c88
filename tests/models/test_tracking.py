"""The parameter `report_to`: off unless asked for, without a network unless told, missing packages named."""

import os
from types import SimpleNamespace

import pytest

from nbkit.models.training import shared_arguments
from nbkit.run import opening, params


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What set_tracking writes is undone."""
    for keys in ({opening.REPORT_TO: ""}, *opening.TRACKERS.values()):
        for key in keys:
            monkeypatch.setenv(key, "")
            monkeypatch.delenv(key)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


def test_nothing_is_reported_by_default(tmp_path):
    opening.set_tracking(SimpleNamespace(report_to="none"), tmp_path / "tracking")
    opening.set_tracking(SimpleNamespace(), tmp_path / "tracking")  # a stage that trains nothing
    assert opening.report_to() == "none" and not (tmp_path / "tracking").exists()
    assert shared_arguments(tmp_path, 0)["report_to"] == "none"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("wandb", {"WANDB_MODE": "offline", "WANDB_PROJECT": "nbkit"}),
        ("trackio", {}),
        ("tensorboard", {}),
    ],
)
def test_trackers_write_beside_the_stages_and_need_no_network(tmp_path, installed, name, wanted):
    folder = tmp_path / "tracking"
    opening.set_tracking(SimpleNamespace(report_to=name), folder)
    assert folder.is_dir() and shared_arguments(tmp_path, 0)["report_to"] == name
    places = [os.environ[key] for key, value in opening.TRACKERS[name].items() if not value]
    assert places == [str(folder)] and wanted.items() <= os.environ.items()


def test_what_the_environment_says_is_left_as_it_is(tmp_path, installed, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    opening.set_tracking(SimpleNamespace(report_to="wandb"), tmp_path)
    assert os.environ["WANDB_MODE"] == "online"


def test_a_missing_package_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="report_to: got 'trackio', but .* `pip install trackio`"):
        opening.set_tracking(SimpleNamespace(report_to="trackio"), tmp_path)


def test_an_unknown_tracker_is_refused():
    with pytest.raises(ValueError, match="report_to='mlflow' is not one of"):
        params.coerce(params.schemas()["02_pretrain"], {"report_to": "mlflow"}, "02_pretrain")


def test_every_training_stage_has_it():
    having = [stage for stage, schema in params.schemas().items() if "report_to" in schema.model_fields]
    assert having == ["02_pretrain", "03_sft_cold_start", "04_sft_overall", "05_dpd", "06_rl"]
