"""One job in WebAssembly, first to last (started by `verify/jail/wasm.py`).

Run as `python -P -s -B jail_wasm_host.py SETTINGS LIFELINE PARENT`. SETTINGS is JSON: {"module": path of
python.wasm, "boot": source, "memory": bytes}; LIFELINE is a descriptor whose other end only the parent holds
(-1 on Windows, which hands on none), PARENT its process number. The process compiles (or finds cached)
CPython, waits for one byte, then becomes the job: the only things WASI hands on are descriptors 0 (message
and standard input), 1 (standard output) and 2 (answers). No folder, no socket, no clock to set, no other
process.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import threading
import time

import wasmtime


def follow(lifeline: int, parent: int) -> None:
    """End this process with its parent, however that dies and whatever runs here (a thread; wasmtime holds no
    lock of Python's while it runs). The end of the lifeline says so at once; a look at the parent's number
    each second says it too where another process has inherited the other end."""
    if sys.platform == "linux":  # acts even while this process is stopped
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if lifeline < 0:
        import psutil  # noqa: PLC0415 (everywhere else this process loads wasmtime alone)

        while psutil.pid_exists(parent):
            time.sleep(1)
        os._exit(1)
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    while os.getppid() == parent and not poller.poll(1000):
        pass
    os._exit(1)


def main(settings: dict) -> int:
    config = wasmtime.Config()
    config.cache = True  # compiling CPython takes seconds; wasmtime keeps the result in the user's cache
    engine = wasmtime.Engine(config)
    module = wasmtime.Module.from_file(engine, settings["module"])
    # WASI with the three streams and no folder: there is no file that it could open.
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
    # Everything is ready; wait for the byte that says go.
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
    threading.Thread(target=follow, args=(int(sys.argv[2]), int(sys.argv[3])), daemon=True).start()
    os._exit(main(json.loads(sys.argv[1])))
