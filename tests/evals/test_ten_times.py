"""benchmarks/ten_times: the text that nobody filtered, and what a baseline costs."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from nbkit.pretrain.fg_wsd import fg_wsd
from nbkit.pretrain.plan import PlanFile
from nbkit.run import files
from nbkit.text.tokenizer import load_pool, save_pool

FOLDER = Path(__file__).parents[2] / "benchmarks/ten_times"
ROW, KEPT = 32, 2


def module(name: str):
    spec = importlib.util.spec_from_file_location(f"ten_times_{name}", FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def run(tmp_path):
    """A 01 and a 02 of tiny size, as far as the baselines read them."""
    pools = {"hq": 640, "mq": 1280, "synthetic": 640}
    plan = PlanFile(fg_wsd(3200, 64, pools, ROW), ROW, 64, KEPT, 8.0)
    folder = tmp_path / "01_data_mix"
    (folder / "pools").mkdir(parents=True)
    plan.save(folder / "pools/plan.json")
    tiny.tokenizer().save_pretrained(folder / "pools/tokenizer")
    save_pool(folder / "pools/synthetic.npy", np.arange(22 * ROW, dtype=np.uint16).reshape(22, ROW))
    params = {"sources": ["embedded"], "web_docs": 200, "natural_chars": 0, "seed": 0}
    files.write_json(folder / "manifest.json", {"params": params})
    size = {"hidden": 96, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 256}
    cfg = {f"baseline_{name}": value for name, value in size.items()} | {"tied_embeddings": True}
    files.write_json(tmp_path / "02_pretrain/manifest.json", {"params": cfg})
    return module("baselines").Outputs(tmp_path)


def test_unfiltered_pools_have_the_sizes_of_the_plan_and_no_row_twice(run, tmp_path):
    out = tmp_path / "made"
    module("baselines").unfiltered(run, out)
    rows = {name: load_pool(out / f"{name}.npy") for name in ("hq", "mq", "synthetic")}
    read = {name: sum(stage.tokens[name] for stage in run.planned.stages) for name in rows}
    assert (len(rows["hq"]), len(rows["mq"])) == (read["hq"] // ROW + KEPT, read["mq"] // ROW + KEPT)
    both = np.concatenate([rows["hq"], rows["mq"]])
    assert len(np.unique(both, axis=0)) == len(both)
    assert np.array_equal(rows["synthetic"], load_pool(run.folder / "01_data_mix/pools/synthetic.npy"))
    text = tiny.tokenizer().decode(rows["hq"][0])
    assert any(letter.isalpha() for letter in text)


def test_text_that_cannot_be_made_again_is_refused(run, tmp_path):
    path = run.folder / "01_data_mix/manifest.json"
    files.write_json(path, {"params": {"sources": ["corpus_wiki"]}})
    with pytest.raises(ValueError, match="sources: got .'corpus_wiki'.* in 01, wanted .'embedded'"):
        module("baselines").unfiltered(run, tmp_path / "made")


def test_the_baselines_cost_is_six_per_weight_and_token(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "baselines", module("baselines"))
    flops = module("flops")
    monkeypatch.setattr(flops, "amounts_of", lambda path: {"tokens": 1000})
    files.write_json(run.folder / "03_sft_cold_start/manifest.json", {"params": {"epochs": 2.0}})
    tokens = 3200 + 1000 * 2.0 + 1000 * 4.0
    weights = flops.baseline_compute(run, 4.0) / tokens
    # 6 per weight, and 12 * layers * width * length for attention.
    table = len(tiny.tokenizer()) * 96
    block = 96 * 96 * 2 + 96 * 48 * 2 + 3 * 96 * 256 + 2 * 96
    assert weights == pytest.approx(6 * (table + 3 * block + 96) + 12 * 3 * 96 * ROW)
