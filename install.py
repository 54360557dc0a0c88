"""Install nbkit into a virtual environment: what `make` calls, and what to run where there is no make.

    python3 install.py                           # .venv in this folder; then: .venv/bin/nbkit run
    python3 install.py --venv ~/.venvs/nbkit     # elsewhere, such as for a checkout that is read-only
    python3 install.py --torch-index https://download.pytorch.org/whl/cpu      # torch without CUDA

It can be run again after anything: what is whole is kept, what an interrupted install left behind is mended.
A failure is one line that says what to do, and exit code 2. Python 2.7 and all of 3 can read this file, so
that an old one can be told what is wanted.
"""

from __future__ import print_function

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

NEEDED = (3, 11)
HERE = os.path.dirname(os.path.abspath(__file__))
LOCK = os.path.join(HERE, "requirements.lock")
# What pip or venv says, and what it means; the first one found counts.
CAUSES = (
    (r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b", "full"),
    (
        r"NewConnectionError|NameResolutionError|name resolution|Name or service not known|ConnectTimeout"
        r"|Connection refused|Network is unreachable|Max retries exceeded|ProxyError|ReadTimeout"
        r"|Connection (?:reset|aborted|broken)|SSLError|CERTIFICATE_VERIFY_FAILED|IncompleteRead",
        "network",
    ),
    (r"Read-only file system|Permission denied|Errno 13\b|Errno 30\b", "readonly"),
    (r"No matching distribution|Could not find a version", "nothing"),
)


class Trouble(Exception):
    """Something that the user can mend; its text says how."""


def check_python(version=sys.version_info, executable=sys.executable):
    """Raise Trouble for a Python that is too old, naming one on this machine that is not."""
    if tuple(version[:2]) >= NEEDED:
        return
    others = ["python3.%d" % minor for minor in range(NEEDED[1], 16)]
    other = next((name for name in others if works(name)), "")
    if other:
        then = "%s is here: make run PYTHON=%s, or without make: %s install.py" % (other, other, other)
    else:
        then = "install it (Debian, Ubuntu: apt install python3.11 python3.11-venv), then run this again"
    found = ".".join(map(str, version[:3]))
    raise Trouble("Python %d.%d or later is needed, found %s (%s); %s" % (NEEDED + (found, executable, then)))


def works(command, test="import venv, ensurepip"):
    """Does this Python start, and can it do that?"""
    with open(os.devnull, "w") as nowhere:
        try:
            return subprocess.call([command, "-c", test], stdout=nowhere, stderr=nowhere) == 0
        except OSError:
            return False


def check_venv():
    """Raise Trouble where this Python cannot make virtual environments: on Debian that is another package."""
    try:
        import ensurepip  # noqa: F401, PLC0415 (the question is whether it is there)
        import venv  # noqa: F401, PLC0415 (the question is whether it is there)
    except ImportError as error:
        raise Trouble(
            "this Python cannot make a virtual environment (%s); install that part of it (Debian, Ubuntu: "
            "apt install python3-venv, or python%d.%d-venv), then run this again"
            % ((error,) + tuple(sys.version_info[:2]))
        )


def python_of(folder):
    """The interpreter of a virtual environment."""
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(folder, *parts)


def make_venv(folder):
    """Make the environment; make it anew where one is left that does not work or is of an old Python."""
    if works(python_of(folder), "import sys, pip; sys.exit(sys.version_info < %r)" % (NEEDED,)):
        return
    left = os.listdir(folder) if os.path.isdir(folder) else []
    if left and not {"pyvenv.cfg", "bin", "lib", "Scripts"} & set(left):
        raise Trouble("%s is in the way: it is no virtual environment; move it, or set VENV" % folder)
    say("making %s" % folder)
    run([sys.executable, "-m", "venv"] + (["--clear"] if left else []) + [folder], folder)


def mend_packages(folder):
    """Forget packages whose install was interrupted: pip takes one without RECORD for installed."""
    command = [python_of(folder), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.check_output(command).decode().strip()
    for name in os.listdir(packages):
        info = os.path.join(packages, name)
        if name.endswith(".dist-info") and not os.path.exists(os.path.join(info, "RECORD")):
            say("%s was installed by half and is installed again" % name[: -len(".dist-info")])
            shutil.rmtree(info)


def pip(folder, arguments):
    """One `pip install` in the environment."""
    pip_install = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(pip_install + arguments, folder)


def run(command, folder):
    """Run a command. Raises Trouble, with what its output means, when it fails."""
    environment = dict(os.environ)
    environment.setdefault("PIP_RETRIES", "2")  # five take half a minute to say that there is no network
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    output = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        raise Trouble(explain(output, folder))
    sys.stdout.write(output)


def say(text):
    print("nbkit: %s" % text)
    sys.stdout.flush()


def explain(output, folder):
    """One line for what pip or venv said when it failed."""
    cause = next((name for pattern, name in CAUSES if re.search(pattern, output)), "")
    last = ([line.strip() for line in output.splitlines() if line.strip()] or ["nothing"])[-1][:300]
    if cause == "full":
        return (
            "the disk is full: %s, and nbkit needs about 6 GB, or 3 GB without CUDA (TORCH_INDEX in README); "
            "free space, or install elsewhere with VENV=/other/folder (and TMPDIR=/other/folder)"
        ) % free(folder)
    if cause == "readonly":
        return (
            "cannot write in %s (%s); fix its permissions, or install elsewhere: "
            "make run VENV=$HOME/.venvs/nbkit NBKIT_OUTPUTS=$HOME/nbkit-outputs"
        ) % (folder, last)
    if cause == "network":
        return (
            "pip cannot reach the package index; check the network, set HTTPS_PROXY behind a proxy, or name "
            "a mirror with PIP_INDEX_URL; then run this again, it goes on from there"
        )
    if cause == "nothing":
        return (
            "pip finds no package that fits (%s); check the network, PIP_INDEX_URL and TORCH_INDEX, and "
            "whether torch has a wheel for this Python (%d.%d) and machine"
        ) % ((last,) + tuple(sys.version_info[:2]))
    return "the install failed, its last words: %s" % last


def free(folder):
    """How much space is left where an environment is or would be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return "%.1f GB are free in %s" % (shutil.disk_usage(folder).free / 1e9, folder)


def install_nbkit(folder):
    """The package itself: a link to this checkout, or a copy where the checkout is read-only."""
    if os.access(HERE, os.W_OK):
        pip(folder, ["--no-deps", "-e", HERE])
        return
    copy = tempfile.mkdtemp()
    try:
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(os.path.join(HERE, name), copy)
        for name in ("nbkit", "notebooks", "params", os.path.join("outputs", "reference")):
            shutil.copytree(os.path.join(HERE, name), os.path.join(copy, name))
        pip(folder, ["--no-deps", copy])
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def install(folder, torch_index=""):
    """All of it. torch comes first, so that the index or wheel chosen for it holds for all that needs it."""
    check_python()
    check_venv()
    try:
        make_venv(folder)
        mend_packages(folder)
        with open(LOCK) as lines:
            torch = [line.strip() for line in lines if line.startswith("torch==")]
        say("installing torch, which takes some minutes (1 of 3)")
        pip(folder, (["--index-url", torch_index] if torch_index else []) + torch)
        say("installing the other packages (2 of 3)")
        pip(folder, ["-r", LOCK])
        say("installing nbkit (3 of 3)")
        install_nbkit(folder)
        stamp = os.path.join(folder, ".installed")
        open(stamp, "a").close()
        os.utime(stamp, None)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Trouble(explain(str(error), folder))


def main(arguments=None):
    """Command line of this file; see its docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--venv", default=os.path.join(HERE, ".venv"), help="folder of the environment")
    parser.add_argument("--torch-index", default="", help="package index for torch alone")
    options = parser.parse_args(arguments)
    try:
        install(os.path.abspath(os.path.expanduser(options.venv)), options.torch_index)
    except Trouble as trouble:
        print("nbkit: %s" % trouble, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
