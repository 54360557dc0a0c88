"""The jail's processes: they follow their parent, whatever happens to it, and nothing of them is left."""

import os
import signal
import subprocess
import threading
from contextlib import contextmanager

import psutil
import pytest
from jail_scripts import QUICK, alive, as_nobody, command, wait

from nbkit.verify import Jail, JailPool, JailResult
from nbkit.verify.jail import canary
from nbkit.verify.jail.tiers import available

ADD = "def add(a, b): return a + b"
FIVE = JailResult("ok", [5])
HANG = "def f():\n    while True: pass"
TIERS = available()
LINUX = [tier for tier in TIERS if tier != "wasmtime"]
if not LINUX:
    pytest.skip("no Linux jail on this machine", allow_module_level=True)


def add(jail):
    return jail.call(ADD, "add", [[2, 3]])


def family():
    return psutil.Process().children(recursive=True)


def descriptors():
    return psutil.Process().num_fds()


@contextmanager
def nothing_left():
    """As many processes and descriptors of ours after the block as before it."""
    processes, fds = len(family()), descriptors()
    yield
    wait(lambda: len(family()) <= processes)
    assert descriptors() == fds


@pytest.fixture
def quick(monkeypatch):
    """No self-tests: these tests start many workers."""
    monkeypatch.setattr(canary, "jobs", lambda *_: [])


# --- the end of the parent, of a thread, of a fork ---

BUSY = (
    QUICK
    + """
import os, signal, time, psutil
jail = Jail(wall_s=600, tier=sys.argv[2]).start()
job = jail._worker.open({"mode": "call", "code": sys.argv[3], "entry": "f", "args": [["l", []]]}, 1000)
job.begin()  # the endless program runs from here on
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
if sys.argv[4] == "fork":
    if (child := os.fork()) == 0:
        signal.pause()
    print(child, flush=True)
job.receive(time.monotonic() + 600)
"""
)


@contextmanager
def busy(tier, *args):
    """A process with an endless job in its jail, and the numbers of all that it started for that."""
    line = command(BUSY, tier, HANG, *args)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        try:
            assert len(pids) >= 2 and all(map(alive, pids))
            yield parent, pids
        finally:
            parent.kill()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_every_process_follows_a_parent_that_dies_in_mid_job(tier, number):
    with busy(tier, "alone") as (parent, pids):
        parent.send_signal(number)
        parent.wait(30)
        wait(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("tier", TIERS)
def test_they_follow_it_though_a_forked_child_lives_on(tier):
    """It inherited the lines to the worker, whose end would otherwise tell that the parent has gone."""
    with busy(tier, "fork") as (parent, pids):
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            wait(lambda: not any(map(alive, pids)))
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("tier", LINUX)
def test_a_stopped_worker_follows_too(tier):
    if tier == "bubblewrap" and os.geteuid() == 0:
        pytest.skip(
            "there the kernel lets the parent, without capabilities, send no signal to the worker's user"
        )
    with busy(tier, "alone") as (parent, pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
        wait(lambda: not any(map(alive, pids)))


THREADS = (
    QUICK
    + """
import os, threading, time
for tier in available()[:1]:  # bubblewrap where it works
    jail = Jail(tier=tier)
    with JailPool(1, tier=tier) as pool:
        starter = threading.Thread(target=jail.start)
        starter.start()
        starter.join()
        while os.path.exists("/proc/self/task/%d" % starter.native_id):  # join returns a little earlier
            time.sleep(0.001)
        worker, other = jail._worker, pool._jails[0]._worker
        assert worker.alive, tier
        for _ in range(3):
            assert jail.call("def add(a, b): return a + b", "add", [[2, 3]]).values == [5]
        assert jail._worker is worker and other.alive
    jail.close()
print("done", os.getuid())
"""
)


def test_a_jail_outlives_the_thread_that_started_it():
    done = subprocess.run(command(THREADS), capture_output=True, text=True)
    assert done.stdout.startswith("done"), done.stderr


def test_also_for_an_unprivileged_user():
    with as_nobody() as run:
        done = run(THREADS)
    assert done.stdout == "done 65534\n", done.stderr


FORK = (
    QUICK
    + """
import os, signal, threading
tier, add = sys.argv[2], ("def add(a, b): return a + b", "add", [[2, 3]])
jail, pool = Jail(tier=tier).start(), JailPool(2, tier=tier).start()
pid, held, done = jail._worker.pid, threading.Event(), threading.Event()
def hold():
    with jail._lock:
        pool.lend(lambda lent: (held.set(), done.wait()))
threading.Thread(target=hold).start()
held.wait()
if (child := os.fork()) == 0:
    signal.alarm(60)  # a hang ends the child
    good = jail.call(*add).values == [5] and (jail._worker.pid != pid or tier == "wasmtime")
    good = good and [result.values for result in pool.map(Jail.call, [add])] == [[5]]
    jail.close(); pool.close()
    os._exit(0 if good else 1)
status = os.waitpid(child, 0)[1]
done.set()
worker = jail._worker
assert jail.call(*add).values == [5] and jail._worker is worker
assert [result.values for result in pool.map(Jail.call, [add])] == [[5]]
jail.close(); pool.close()
print(status)
"""
)


@pytest.mark.parametrize("tier", sorted({LINUX[0], LINUX[-1], TIERS[-1]}))
def test_a_fork_under_held_locks_has_jails_of_its_own(tier):
    done = subprocess.run(command(FORK, tier), capture_output=True, text=True)
    assert done.stdout == "0\n", done.stdout + done.stderr


# --- close ---


@pytest.mark.parametrize("tier", TIERS)
def test_close_ends_stopped_processes(tier, quick):
    with nothing_left():
        jail = Jail(tier=tier).start()
        for process in family():
            process.suspend()
        jail.close()


@pytest.mark.parametrize("tier", TIERS)
def test_close_ends_a_stopped_worker_with_its_job(tier, quick):
    with nothing_left():
        jail = Jail(tier=tier).start()
        message = {"mode": "call", "code": HANG, "entry": "f", "args": [["l", []]]}
        jail._worker.open(message, 1000).begin()
        for process in family():
            process.suspend()
        jail.close()


def test_a_jail_is_usable_again_after_close_but_not_after_retire(quick):
    with nothing_left():
        jail = Jail(tier=LINUX[-1])
        assert add(jail) == FIVE
        assert jail.check(ADD, "add", "def check(c): assert c(2, 3) == 5").values == [True]
        jail.close()
        assert add(jail) == FIVE
        jail.retire()
        for use in (add, Jail.start, Jail.sibling, lambda j: j.run("print(1)")):
            with pytest.raises(RuntimeError, match="closed"):
                use(jail)


@pytest.mark.parametrize("waiting", [1, 5])
def test_who_waits_for_a_jail_while_the_pool_closes_is_told(waiting, quick):
    """Threads that lend, rows of `map` and a borrower that goes on: none of them starts a worker any more."""
    with nothing_left():
        pool = JailPool(1, tier=LINUX[-1]).start()
        held, go_on, told = threading.Event(), threading.Event(), []

        def borrow(jail):
            held.set()
            go_on.wait()
            return add(jail)

        def tell(work, *args):
            try:
                told.append(work(*args))
            except RuntimeError as error:
                told.append(str(error))

        threads = [threading.Thread(target=tell, args=(pool.lend, borrow))]
        threads[0].start()
        held.wait()
        threads += [threading.Thread(target=tell, args=(pool.lend, add)) for _ in range(waiting)]
        threads += [threading.Thread(target=tell, args=(pool.map, Jail.call, [(ADD, "add", [[2, 3]])] * 3))]
        for thread in threads[1:]:
            thread.start()
        pool.close()
        for thread in threads[1:]:
            thread.join()
        assert len(told) == waiting + 1 and all("closed" in words for words in told), told
        go_on.set()
        threads[0].join()
        assert "closed" in told[-1] and len(told) == waiting + 2
        for use in (pool.start, lambda: pool.map(Jail.call, []), pool.sibling):
            with pytest.raises(RuntimeError, match="closed"):
                use()
