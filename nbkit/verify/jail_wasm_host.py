"""One job in WebAssembly, first to last (started by `jail_wasm.py`).

Run as `python -P -s -B jail_wasm_host.py SETTINGS`. SETTINGS is JSON: {"module": path of python.wasm,
"boot": source, "memory": bytes}. The process compiles (or finds cached) CPython, waits for one byte, then
becomes the job: the only things WASI hands on are descriptors 0 (message and standard input), 1 (standard
output) and 2 (answers). No folder, no socket, no clock to set, no other process.
"""

import json
import os
import sys

import wasmtime


def main(settings: dict) -> int:
    config = wasmtime.Config()
    config.cache = True  # compiling CPython takes seconds; wasmtime keeps the result in the user's cache
    engine = wasmtime.Engine(config)
    module = wasmtime.Module.from_file(engine, settings["module"])
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["python", "-S", "-B", "-c", settings["boot"]]
    wasi.env = [("PYTHONHASHSEED", "0")]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=settings["memory"])
    store.set_wasi(wasi)
    if not os.read(0, 1):
        return 0
    start = linker.instantiate(store, module).exports(store)["_start"]
    try:
        start(store)
    except wasmtime.ExitTrap as end:
        return end.code
    except wasmtime.WasmtimeError:  # a trap: out of stack or of memory, or an invalid instruction
        return 70
    return 0


if __name__ == "__main__":
    os._exit(main(json.loads(sys.argv[1])))
