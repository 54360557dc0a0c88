"""What programs ask of their system by habit: answered in every tier, or refused in one clear line."""

import pytest

from nbkit.verify import Case, Jail, grade_program
from nbkit.verify.jail.inside import jail_idioms
from nbkit.verify.jail.tiers import available

STDIN = "7 8\n9\n"
ALL = STDIN.replace("\n", "|")
EVERYWHERE = [  # (code, what it prints)
    ("from pathlib import Path\nprint(Path('/dev/stdin').read_text().replace('\\n', '|'))", ALL),
    ("import os\nprint(os.read(0, os.fstat(0).st_size).replace(b'\\n', b'|').decode())", ALL),
    ("import os\nprint(os.path.basename(__file__), os.getcwd())", "main.py /"),
    ("import locale\nlocale.setlocale(locale.LC_ALL, '')\nprint(input())", "7 8"),
    ("import select, sys\nprint(bool(select.select([sys.stdin], [], [], 0)[0]), input())", "True 7 8"),
    ("import sys\ntry: sys.stdin = open('input.txt')\nexcept FileNotFoundError: pass\nprint(input())", "7 8"),
    ("from pathlib import Path\nprint(Path('input.txt').exists(), input())", "False 7 8"),
]
MORE = [
    ("from pathlib import Path\nprint(len(Path('/dev/stdin').read_bytes()))", "6"),
    ("from pathlib import Path\nwith Path('/dev/stdin').open() as f: print(f.readline())", "7 8"),
    ("print(len(open('/dev/fd/0').read()))", "6"),
    ("print(len(open(file='/proc/self/fd/0', mode='rb').read()))", "6"),
    ("print(len(open(b'/dev/stdin').read()))", "6"),
    ("import os\nprint(os.read(os.open('/dev/stdin', os.O_RDONLY), 3).decode())", "7 8"),
    ("with open('/dev/stdin') as f: a = f.readline()\nopen('/dev/stdin').read(); print(a)", "7 8"),
    ("import os\nprint(os.path.exists('/dev/stdin'), os.stat('/dev/stdin').st_size)", "True 6"),
    ("import sys\nprint('note', file=open('/dev/stderr', 'w'))\nprint(input())", "7 8"),
    ("from pathlib import Path\nPath('/dev/stdout').write_text('5')", "5"),
    ("import os\nd = b''\nwhile c := os.read(0, 2): d += c\nprint(len(d))", "6"),
    ("import os\nprint(os.read(0, 0), len(os.read(0, 10**9)))", "b'' 6"),
    ("import os\nos.chdir(os.path.dirname(os.path.abspath(__file__)))\nprint(os.path.relpath('/a'))", "a"),
    ("from pathlib import Path\nprint(Path(__file__).resolve().parent, Path.cwd() / 'x')", "/ /x"),
    ("import os\nprint(os.path.abspath('a'), os.path.realpath('b'), os.getcwdb())", "/a /b b'/'"),
    ("import inspect\ndef f(): return 1\nprint(inspect.getsource(f))", "def f(): return 1"),
    ("import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C')\nprint(f'{1234:n}')", "1234"),
    ("import select, sys\np = select.poll()\np.register(0, select.POLLIN)\nprint(p.poll(0), input())",
     "[(0, 1)] 7 8"),
    ("import selectors as s, sys\nd = s.DefaultSelector()\nd.register(sys.stdin, s.EVENT_READ)\n"
     "print(len(d.select(0)), input())", "1 7 8"),
    ("import select, sys\nwhile select.select([sys.stdin], [], [])[0]:\n    l = sys.stdin.readline()\n"
     "    if not l: break\n    print(l.strip())", STDIN),
    ("import select, time\nt = time.time()\nselect.select([], [], [], 0.1)\nprint(time.time() - t > 0.09)",
     "True"),
    ("import os\ntry: os.stat('a.txt')\nexcept FileNotFoundError: print(input())", "7 8"),
    ("try: open('a.txt')\nexcept PermissionError as e: print(e.filename)", "a.txt"),
    ("from pathlib import Path\nprint(Path('a').is_file(), Path('b').is_dir())", "False False"),
    ("import resource\nprint(len(resource.getrlimit(resource.RLIMIT_STACK)))", "2"),
    ("import os, platform\nprint(os.uname().nodename, platform.system())", "jail Linux"),
    ("import asyncio, sys\nasync def main():\n    r = asyncio.StreamReader()\n"
     "    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(r),"
     " sys.stdin)\n    print((await r.readline()).decode(), (await r.read()).decode())\nasyncio.run(main())",
     "7 8\n 9\n"),
    ("import argparse\nprint(argparse.ArgumentParser().parse_args())", "Namespace()"),
]  # fmt: skip
FILES = "(the jail allows a program no files, processes or network)"
REFUSED = [  # (code, the line that says so), in all Linux tiers
    ("open('/dev/null', 'w')", FILES),
    ("import io\nio.FileIO('/dev/stdin')", FILES),
    ("print(open(__file__).read())", FILES),
    ("import tempfile\ntempfile.TemporaryFile()", FILES),
    ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 5)", FILES),
    ("import os\nos.dup(0)", FILES),
    ("import os\nos.chdir('/tmp')", FILES),
    ("import logging\nlogging.basicConfig(filename='a.log')", FILES),
    ("open('x' * 5000)", FILES),
    ("import sqlite3", "(the jail has the standard library without"),
    ("import mmap", "(the jail has the standard library without"),
    ("import locale\nlocale.setlocale(locale.LC_ALL, 'en_US.UTF-8')", "(the jail has no locales but"),
    ("import threading, time\nfor _ in range(999): threading.Thread(target=time.sleep, args=(1,)).start()",
     "(the jail allows a program few threads)"),
]  # fmt: skip
IN_WASM = [
    ("open('/dev/null', 'w')", FILES),
    ("import subprocess\nsubprocess.run('ls')", FILES),
    ("import os\nos.fork()", "(the jail runs on WebAssembly"),
    ("import os\nos.nothing", "(the jail runs on WebAssembly"),
]
NEITHER = ["raise OSError('mine')", "raise FileNotFoundError('mine')", "input(); input(); input()", "[].x"]


XML = "import xml.{0} as x\n"
LIBRARY = [  # (code, what it prints): modules that need no files, also what they import when they are used
    ("import getopt\nprint(getopt.getopt(['-a', 'b'], 'a'))", "([('-a', '')], ['b'])"),
    ("import optparse\np = optparse.OptionParser()\np.add_option('-n', type='int')\n"
     "print(p.parse_args(['-n', '3'])[0].n)", "3"),
    ("import configparser as c\np = c.ConfigParser()\np.read_string('[a]\\nb=1')\nprint(p.getint('a', 'b'))",
     "1"),
    ("import tomllib\nprint(tomllib.loads('a = 1979-05-27'))", "{'a': datetime.date(1979, 5, 27)}"),
    ("import plistlib as p\nprint([p.loads(p.dumps([1], fmt=f)) for f in p.PlistFormat])", "[[1], [1]]"),
    ("import email\nm = email.message_from_string('To: a@b\\n\\nhi')\nprint(m['to'], m.get_payload())",
     "a@b hi"),
    ("from email.message import EmailMessage as M\nm = M()\nm['To'] = 'é <a@b.c>'\nm.set_content('é')\n"
     "m.add_attachment(b'x', maintype='a', subtype='b')\nprint(m.as_string().count('\\n') > 9)", "True"),
    ("from email.mime.text import MIMEText\nfrom email.utils import parseaddr\n"
     "print(MIMEText('é').get_content_charset(), parseaddr('A <a@b>'))", "utf-8 ('A', 'a@b')"),
    (XML.format("etree.ElementTree") + "t = x.fromstring('<a><b c=\"1\"/></a>')\n"
     "print(t.find('./b[@c]').get('c'), x.tostring(t).decode())", '1 <a><b c="1" /></a>'),
    (XML.format("dom.minidom") + "print(x.parseString('<a>1</a>').documentElement.toxml())", "<a>1</a>"),
    (XML.format("sax") + "class H(x.ContentHandler):\n    def startElement(s, n, a): print(n)\n"
     "x.parseString(b'<a/>', H())", "a"),
    ("import symtable\nprint(symtable.symtable('x = 1', '', 'exec').get_identifiers())", "dict_keys(['x'])"),
    ("import colorsys\nprint(colorsys.rgb_to_hls(1, 0, 0))", "(0.0, 0.5, 1.0)"),
    ("import gzip\nprint(gzip.decompress(gzip.compress(b'a' * 99)) == b'a' * 99)", "True"),
    ("import html.parser as h\nclass P(h.HTMLParser):\n    def handle_data(s, d): print(d)\n"
     "P().feed('<b>x</b>')", "x"),
    ("import quopri\nprint(quopri.encodestring(b'=').decode())", "=3D"),
    ("import io, zipfile as z\nb = io.BytesIO()\nwith z.ZipFile(b, 'w') as f: f.writestr('a', 'b')\n"
     "print(z.ZipFile(b).read('a'))", "b'b'"),
]  # fmt: skip
LINUX_LIBRARY = [
    ("import cProfile, pstats, io\np = cProfile.Profile()\np.runcall(len, '')\ns = io.StringIO()\n"
     "pstats.Stats(p, stream=s).print_stats()\nprint('function calls' in s.getvalue())", "True"),
    ("import profile\nprint(profile.Profile().runcall(len, 'ab'))", "2"),
    ("import tracemalloc\ntracemalloc.start()\na = [0] * 999\n"
     "print(tracemalloc.get_traced_memory()[0] > 7000)", "True"),
    ("import getpass, warnings\nwarnings.simplefilter('ignore')\nprint(getpass.getpass(''))", "7 8"),
]  # fmt: skip
ABSENT = [
    "curses",
    "dbm",
    "filecmp",
    "ftplib",
    "http.server",
    "imaplib",
    "mailbox",
    "mmap",
    "netrc",
    "poplib",
    "pty",
    "readline",
    "shelve",
    "smtplib",
    "socketserver",
    "sqlite3",
    "tarfile",
    "tkinter",
    "turtle",
    "venv",
    "wave",
    "webbrowser",
    "xmlrpc.client",
    "zoneinfo",
]


@pytest.fixture(scope="module", params=available())
def tier(request):
    with Jail(wall_s=5.0, tier=request.param) as warm:
        yield warm


def printed(jail, code, expected, stdin=STDIN):
    verdict = grade_program(jail, code, [Case(stdin, expected)])
    assert verdict.status == "pass", verdict


@pytest.mark.parametrize(("code", "expected"), EVERYWHERE)
def test_in_every_tier(tier, code, expected):
    printed(tier, code, expected)


@pytest.mark.parametrize(("code", "expected"), MORE)
def test_on_linux(jail, code, expected):
    if jail.tier == "wasmtime":
        pytest.skip("Linux tiers only")
    printed(jail, code, expected)


@pytest.mark.parametrize(("code", "expected"), LIBRARY)
def test_modules_that_need_no_files(tier, code, expected):
    printed(tier, code, expected)


@pytest.mark.parametrize(("code", "expected"), LINUX_LIBRARY)
def test_modules_that_need_no_files_on_linux(jail, code, expected):
    if jail.tier == "wasmtime":
        pytest.skip("Linux tiers only")
    printed(jail, code, expected)


def test_modules_that_are_refused_in_one_line(jail):
    if jail.tier == "wasmtime":
        pytest.skip("Linux tiers only")
    code = f"import importlib\nfor name in {ABSENT}:\n    try: importlib.import_module(name)\n"
    code += "    except ImportError: continue\n    print(name)"
    assert jail.run(code).values == [""]
    assert "(the jail has the standard library without" in jail.run("import tarfile").detail
    for line in ("configparser.ConfigParser().read('/etc/passwd')", "gzip.open('/etc/passwd').read()"):
        opened = jail.run(f"import configparser, gzip\nprint({line})")
        assert opened.values == ["[]\n"] or FILES in opened.detail, opened


def test_long_input_in_one_read(tier):
    code = "import os\nprint(len(os.read(0, os.fstat(0).st_size)), os.read(0, 5))"
    printed(tier, code, "1000000 b''", "x" * 1_000_000)
    printed(tier, "import os\nprint(os.fstat(0).st_size, os.read(0, 0))", "0 b''", "")


def test_a_refusal_is_one_clear_line(tier):
    for code, words in IN_WASM if tier.tier == "wasmtime" else REFUSED:
        result = tier.run(code, STDIN)
        assert result.status == "error" and words in result.detail, (code, result)
        assert "\n" not in result.detail and len(result.detail) <= 300
    for code in NEITHER:
        assert "the jail" not in tier.run(code, STDIN).detail


def test_the_same_paths_for_functions(jail):
    code = "import os\ndef f(x): return open('/dev/stdin').read(), os.getcwd(), os.path.basename(__file__)"
    assert jail.call(code, "f", [[1]]).values in ([("", "/", "main.py")], [])  # WebAssembly waits for input


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/dev/stdin/../../etc/passwd", "/dev/fd/3", "/dev/fd/4",
             "//dev/stdin", "/proc/self/fd/3", "/proc/1/fd/0", "/dev/stdin\0", "0", "/"],
)  # fmt: skip
def test_no_other_path_leads_anywhere(jail, path):
    assert jail_idioms._stream(path) is None
    calls = "open({0!r}); os.open({0!r}, 0); os.stat({0!r}); Path({0!r}).read_text(); io.open({0!r})"
    for call in f"{calls}; os.chdir({{0!r}} + '/x'); os.lstat({{0!r}}); os.listdir({{0!r}})".split("; "):
        code = f"import os, io\nfrom pathlib import Path\nprint({call.format(path)})"
        result = jail.run(code)
        assert result.status == "error" and "Error" in result.detail, (code, result)


def test_the_jail_s_own_limits_are_the_kernel_s(jail):
    if jail.tier == "wasmtime":
        pytest.skip("Linux tiers only")
    code = "import resource\nresource.getrlimit = lambda k: (-1, -1)\nprint(len(bytes(1 << 40)))"
    assert "MemoryError" in jail.run(code).detail
