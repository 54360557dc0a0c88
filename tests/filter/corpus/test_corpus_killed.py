"""A run over a corpus that is killed goes on to the same bytes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from test_pipeline import EVAL, content, docs, inputs, run, saved  # noqa: F401 (fixtures)

N = 240
KILLED = """
import os, sys
from nbkit.filter.corpus import dedup, pools, score
from nbkit.filter.corpus.executors import Execution
from nbkit.filter.corpus.pipeline import FilterSettings, filter_corpus
kind, inputs, saved, out, evals = sys.argv[1:]
module, name, after = {
    "sketch": (dedup, "atomic_file", 20),
    "score": (score, "write_rows", 2),
    "pools": (pools, "write_rows", 2),
}[kind]
real, calls = getattr(module, name), []
def dying(*arguments):
    calls.append(1)
    if len(calls) > after:
        os._exit(9)
    return real(*arguments)
setattr(module, name, dying)
import json
filter_corpus(inputs, saved, out, FilterSettings(4000, 5000), eval_texts=json.loads(evals))
"""


@pytest.mark.parametrize("kind", ["sketch", "score", "pools"])
def test_a_killed_run_goes_on_to_the_same_result(inputs, saved, tmp_path, kind):
    whole = content(run(inputs, saved, tmp_path / "whole"))
    arguments = [kind, inputs, str(saved), str(tmp_path / "cut"), json.dumps(EVAL)]
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], stderr=stderr, start_new_session=True
        )
        assert process.wait() == 9, (tmp_path / "stderr").read_text()
    with contextlib.suppress(ProcessLookupError):  # datatrove's queue server outlives a killed parent
        os.killpg(process.pid, signal.SIGKILL)
    assert not list((tmp_path / "cut").rglob("manifest.json"))
    done = {
        path: path.stat().st_mtime_ns
        for folder in ("scores", "sketches", "provenance")
        for path in (tmp_path / "cut").glob(f"*/{folder}/0*")
    }
    assert done, "killed after the first files"
    assert content(run(inputs, saved, tmp_path / "cut", tasks=2)) == whole
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items()), "finished files are kept"


@pytest.mark.slow
def test_sigkill_of_two_workers_at_any_moment(inputs, saved, tmp_path):
    whole = content(run(inputs, saved, tmp_path / "whole"))
    code = KILLED.split("module, name, after")[0] + (
        "import json\nif __name__ == '__main__':\n    filter_corpus(inputs, saved, out, "
        "FilterSettings(4000, 5000), Execution(tasks=3, workers=2), eval_texts=json.loads(evals))\n"
    )
    script = tmp_path / "job.py"
    script.write_text(code)
    arguments = ["-", inputs, str(saved), str(tmp_path / "cut"), json.dumps(EVAL)]
    for seconds in (4, 8, 12):
        process = subprocess.Popen([sys.executable, script, *arguments], start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert content(run(inputs, saved, tmp_path / "cut")) == whole
