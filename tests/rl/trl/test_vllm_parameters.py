"""vLLM by parameter: what reaches TRL, by TRL's own signatures. vLLM itself is not installed here."""

import inspect
from dataclasses import fields

import pytest
import trl.generation.vllm_generation
from trl import GRPOConfig, GRPOTrainer

from nbkit.rl.trl import grpo as engine
from nbkit.rl.trl import plain
from nbkit.run.schemas.posttraining import Reinforce

SETTINGS = engine.GRPOSettings(steps=2, prompts_per_step=2, group=4, lr=1e-3, max_new_tokens=8, seed=0)
SERVER = "http://localhost:8000"


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(engine, "is_vllm_available", lambda: True)


@pytest.mark.parametrize(("vllm", "address"), [("colocate", ""), ("server", SERVER)])
def test_the_parameters_reach_grpo_config(tmp_path, installed, vllm, address):
    cfg = Reinforce.coerced({"engine": "trl", "vllm": vllm, "vllm_server": address})
    on = plain.OnTRL.of(cfg)
    options = engine.TRLOptions(vllm=on.vllm, vllm_server=on.vllm_server)
    arguments = engine._arguments(SETTINGS, options, [7, 9], tmp_path)
    assert arguments.use_vllm and arguments.vllm_mode == vllm
    assert arguments.vllm_server_base_url == (address or None)
    assert arguments.generation_kwargs == {"stop_token_ids": [7, 9]}
    assert arguments.temperature == 1.0 and arguments.max_completion_length == 8


def test_without_vllm_nothing_of_it_is_set(tmp_path):
    arguments = engine._arguments(SETTINGS, engine.TRLOptions(), [7], tmp_path)
    assert not arguments.use_vllm and arguments.generation_kwargs is None


def test_trl_has_the_names_that_we_use():
    """A contract: TRL renames fields between versions."""
    known = {field.name for field in fields(GRPOConfig)}
    assert {"use_vllm", "vllm_mode", "vllm_server_base_url", "generation_kwargs"} <= known
    assert "max_tool_calling_iterations" in known
    modes = GRPOConfig.__dataclass_fields__["vllm_mode"].metadata["help"]
    assert "server" in modes and "colocate" in modes
    made = inspect.signature(trl.generation.vllm_generation.VLLMGeneration.__init__).parameters
    assert {"mode", "server_base_url", "generation_kwargs"} <= set(made)
    source = inspect.getsource(GRPOTrainer)
    for value in ("server_base_url=args.vllm_server_base_url", "generation_kwargs=args.generation_kwargs"):
        assert value in source
    assert "tools" in inspect.signature(GRPOTrainer.__init__).parameters
    turn = inspect.signature(GRPOTrainer._generate_single_turn).parameters
    ours = inspect.signature(engine.FastRolloutTrainer._generate_single_turn).parameters
    assert list(turn) == list(ours)
    for name in ("_tokenize_prompts", "_get_tool_suffix_ids"):
        theirs, own = (getattr(cls, name) for cls in (GRPOTrainer, engine.FastRolloutTrainer))
        assert list(inspect.signature(theirs).parameters) == list(inspect.signature(own).parameters)


def test_where_it_is_not_installed_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "is_vllm_available", lambda: False)
    with pytest.raises(ValueError, match="vllm: got 'colocate', but vllm is not installed .* take vllm=none"):
        engine._arguments(SETTINGS, engine.TRLOptions(vllm="colocate"), [7], tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vllm": "colocate"}, "vllm: got 'colocate', but engine=loop"),
        ({"engine": "trl", "vllm": "server"}, "vllm_server: got '' with vllm='server', wanted an address"),
        ({"engine": "trl", "vllm_server": SERVER}, "vllm_server: got 'http.*' with vllm='none'"),
        ({"engine": "trl", "vllm": "beside"}, "vllm"),
    ],
)
def test_what_does_not_go_together_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Reinforce.coerced(changed)


@pytest.mark.parametrize("options", [{"vllm": "server"}, {"vllm_server": SERVER}, {"vllm": "beside"}])
def test_the_engine_refuses_it_too(tmp_path, options):
    with pytest.raises(ValueError, match="vllm: got .* wanted one of none, colocate, server"):
        engine._arguments(SETTINGS, engine.TRLOptions(**options), [7], tmp_path)
