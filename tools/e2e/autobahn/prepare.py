"""Fetches the Autobahn test suite and makes it run under today's Python.

The suite is written for Python 2.7, which no current distribution carries. Its cases are what matters: they are the
reference for RFC 6455 that every implementation is compared by. So this script fetches the published source archives,
pinned by hash, and applies the smallest change that lets the very same cases run under Python 3:

* syntax (print, has_key, xrange) by fissix, the maintained lib2to3;
* byte strings: Python 2's `str` is a string of octets. Here it becomes a `str` whose characters are U+0000..U+00FF,
  and `octets.py` turns it into bytes and back where the suite meets the WebSocket protocol. The source is therefore
  read as latin-1, so that a literal holds the octets it held in Python 2;
* a handful of replacements listed in PATCHES, each of which must match exactly as often as it says, or this fails.

Compression (categories 12 and 13) is left out: Ringway negotiates no extension.

Usage: prepare.py FOLDER    fills FOLDER unless it is already filled by this version of this script
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

SUITE = "autobahntestsuite==25.10.1"
SUITE_SHA256 = "b083d6e15330fc16f3e5f0975cce2b15f21bfa0c6db09547316b1852c6dbd6df"
LIBRARY = "autobahn==0.10.9"
LIBRARY_SHA256 = "3fecc1e2a26a0421128ddcfb4e577f0bc669dd65d0e0fdad1c773965cbcef75a"

# What the two import at run time; wsaccel masks and validates UTF-8 in C, as the suite's own image does.
RUNTIME = [
    "appdirs==1.4.4",
    "attrs==26.1.0",
    "automat==25.4.16",
    "constantly==23.10.4",
    "fissix==24.4.24",
    "hyperlink==21.0.0",
    "idna==3.20",
    "incremental==24.11.0",
    "six==1.16.0",
    "twisted==24.11.0",
    "txaio==23.1.1",
    "typing_extensions==4.16.0",
    "wsaccel==0.6.7",
    "zope.interface==8.7",
]

FIXERS = ["except", "has_key", "print", "raise", "xrange"]

# file: [(pattern, replacement, how often it must match; None: at least once)]
PATCHES = {
    "autobahn/websocket/protocol.py": [
        # Integer division: `/` of two ints was one in Python 2.
        (r"range\(payload_len / len\(payload\)\)", "range(payload_len // len(payload))", 1),
    ],
    "autobahntestsuite/report.py": [
        (r"import jinja2\n", "", 1),
        # After the style sheets comes a writer of pages that nothing uses.
        (r"(?s)\nREPORT_DIR_PERMISSIONS = .*", "\n", 1),
    ],
    "autobahntestsuite/fuzzing.py": [
        # Not needed by the client, and gone from current setuptools.
        (r", pkg_resources\n", "\n", 1),
        (r"\bbinascii, ", "", 1),
        # TLS is not under test, and would need pyOpenSSL.
        (r"from twisted\.internet import reactor, ssl", "from twisted.internet import reactor", 1),
        (r"ssl\.ClientContextFactory\(\)", "None", 1),
        (r"(?m)^from (case|caseset|report) import", r"from .\1 import", 3),
        (r"import autobahntestsuite\n", "import autobahntestsuite\nfrom autobahntestsuite import octets, octets as binascii\n", 1),
        # The log helpers take octets in either form.
        (r"return dd\.decode\('utf8', errors = '", "return octets.raw(dd).decode('utf8', errors = '", 1),
        (r"p = ''\.join\(payload\)", "p = octets.text(b''.join(payload))", 1),
        (r"asciiLogData\(payload\)\)", "asciiLogData(octets.text(payload)))", 1),
        # Where the suite meets the protocol.
        (
            r"class FuzzingClientProtocol\(FuzzingProtocol,",
            "class FuzzingClientProtocol(octets.Boundary, FuzzingProtocol,",
            1,
        ),
        # The per-case pages repeat what the JSON says.
        (r"self\.createReports\(\)\n         reactor\.stop\(\)", "self.createReports(produceHtml = False)\n         reactor.stop()", 1),
        (
            r"self\.createReports\(\)\n            reactor\.stop\(\)",
            "self.createReports(produceHtml = False)\n            reactor.stop()",
            1,
        ),
        (r"json\.dumps\(case, ", "json.dumps(case, default = octets.text, ", 1),
    ],
    "autobahntestsuite/case/__init__.py": [
        (r"(?m)^from (case\w+) import \*$", r"from .\1 import *", None),
        # case.py is where `Case` comes from; every case file exports it.
        (r"(?m)^from \.case12_x_x import \*\n", "", 1),
        (r"(?m)^Cases\.extend\(Case1[23]_X_X\)\n", "", 2),
        (r"(?m)^CaseSubCategories\.update\(Case1[23]_X_X_CaseSubCategories\)\n", "", 2),
    ],
    "autobahntestsuite/case/case.py": [
        # Pickles of equal values may differ in how they share parts; equality is what is meant.
        (r"pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "obj1 == obj2", 1),
    ],
    "autobahntestsuite/case/case10_1_1.py": [
        (r"len\(self\.payload\) / self\.p", "len(self.payload) // self.p", 1),
    ],
    "autobahntestsuite/case/case6_x_x.py": [
        (r"(?m)^from autobahn\.websocket\.utf8validator import", "from autobahntestsuite.octets import", 1),
    ],
}

# Applied to every case file, as often as it matches.
CASE_PATCHES = [
    (r"(?m)^from (case\w*) import", r"from .\1 import"),
    (r"(?m)^import binascii$", "from autobahntestsuite import octets as binascii"),
    # `object` before a class derived from it has no linear order in Python 3.
    (r"\(object, Case, \)", "(Case, )"),
    (r"(?m)^# coding=utf-8\n", ""),
]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(sys.argv[1]).resolve()
    version = own_version()
    stamp = target / "version"
    if stamp.is_file() and stamp.read_text() == version:
        print(f"{target} is ready")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there whole: two runs at once, or one cut short, leave nothing half made.
    building = Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent))
    try:
        fetch(building)
        adapt(building)
        (building / "version").write_text(version)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=target.name + ".old.", dir=target.parent))
            target.rename(old / "was")
            shutil.rmtree(old, ignore_errors=True)
        try:
            building.rename(target)
        except OSError:
            if not stamp.is_file() or stamp.read_text() != version:
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    print(f"{target} is ready")


def own_version():
    """Changes with this script, with octets.py and with the interpreter's version, which compiled parts depend on."""
    digest = hashlib.sha256()
    for name in ["prepare.py", "octets.py"]:
        digest.update((HERE / name).read_bytes())
    digest.update(sys.version.encode())
    return digest.hexdigest()


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)


def fetch(folder):
    """Installs what is needed at run time, and unpacks the two packages from their source archives."""
    pip("install", "--no-deps", "--target", str(folder), *RUNTIME)
    for requirement, wanted, package in [(SUITE, SUITE_SHA256, "autobahntestsuite"), (LIBRARY, LIBRARY_SHA256, "autobahn")]:
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            pip("download", "--no-deps", "--no-binary", ":all:", "--dest", downloads, requirement)
            [archive] = Path(downloads).iterdir()
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != wanted:
                sys.exit(f"{archive.name} has SHA-256 {found}, not {wanted}")
            unpack(archive, package, folder)


def unpack(archive, package, folder):
    """Takes the files of one package out of a source archive."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 2 or parts[1] != package or ".." in parts:
                continue
            place = folder.joinpath(*parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(tar.extractfile(member).read())


def adapt(folder):
    sys.path.insert(0, str(folder))
    from fissix.refactor import RefactoringTool

    tool = RefactoringTool([f"fissix.fixes.fix_{name}" for name in FIXERS])
    suite = folder / "autobahntestsuite"
    # The package's own start imports every mode; the client needs only its version.
    (suite / "__init__.py").write_text("from ._version import __version__\n\nversion = __version__\n")
    shutil.copy(HERE / "octets.py", suite / "octets.py")
    (suite / "case" / "case12_x_x.py").unlink()
    # Lists without bound of 64 KiB chunks, commented out of the suite's own list of cases.
    (suite / "case" / "case9_9_1.py").unlink()
    replace(suite / "case" / "__init__.py", r"(?m)^from case9_9_1 import \*\n", "", 1)

    for case_file in sorted((suite / "case").glob("*.py")):
        for pattern, replacement in CASE_PATCHES:
            if case_file.name != "__init__.py":
                replace(case_file, pattern, replacement, None, least=0)
    for name, patches in PATCHES.items():
        for pattern, replacement, count in patches:
            replace(folder / name, pattern, replacement, count)
    for path in [*suite.glob("case/*.py"), suite / "fuzzing.py", suite / "caseset.py", suite / "report.py"]:
        text = path.read_bytes().decode("latin-1")
        if not text.endswith("\n"):
            text += "\n"
        path.write_bytes(str(tool.refactor_string(text, str(path))).encode("utf-8"))


def replace(path, pattern, replacement, count, least=1):
    text = path.read_bytes().decode("latin-1").replace("\r\n", "\n")
    changed, found = re.subn(pattern, replacement, text)
    if (count is not None and found != count) or found < least:
        sys.exit(f"{path}: {pattern!r} matched {found} times, not {count or 'at least once'}")
    path.write_bytes(changed.encode("latin-1"))


if __name__ == "__main__":
    main()
