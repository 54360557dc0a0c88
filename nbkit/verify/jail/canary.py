"""Jobs with a known outcome, run when a jail worker starts and now and then afterwards (`jail.py`).

Many graders turned into silent zeros because of the machine, not the program: an address-space limit that
was already low, a blocked thread, a clock that never fired. And a jail that lets something through must not
be used at all. A known-good and several known-bad jobs catch both before anything is graded.
"""

_GOOD = """
from concurrent.futures import ThreadPoolExecutor
def canary(n, room):
    bytes(room)  # reserved, never touched: quick at any size
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: [n * n, True, -0.5]).result()
"""
_BAD = """
import os
def canary():
    escaped = []
    for name, attempt in {"open": lambda: open("/dev/null"), "stat": lambda: os.stat("/dev/null"),
                          "fork": lambda: os.fork(), "socket": lambda: __import__("socket").socket(),
                          "kill": lambda: os.kill(os.getpid(), 0),
                          "exec": lambda: os.execv("/", ["true"])}.items():
        try:
            attempt()
        except REFUSED:
            continue
        escaped.append(name)
    return escaped
"""
_HANG = "def canary():\n    while True: pass\n"


def jobs(memory_mb: int, layers: list[str]) -> list[tuple[str, list, float, str, list]]:
    """(code, args, wall_s, status, values) of every canary; a call that raised shows as its error text."""
    # WebAssembly has no such calls at all; on Linux only the kernel's refusal counts
    refused = "(OSError, AttributeError)" if "wasmtime" in layers else "PermissionError"
    half = memory_mb << 19
    return [
        (_GOOD, [7, half], 30.0, "ok", [[49, True, -0.5]]),
        (_GOOD, [7, 4 * half], 30.0, "ok", ["MemoryError: "]),
        (f"REFUSED = {refused}\n{_BAD}", [], 30.0, "ok", [[]]),
        (_HANG, [], 0.05, "timeout", []),
    ]
