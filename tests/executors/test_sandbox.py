"""What contains a process: live probes of each tier, seccomp programs, frames, a machine without namespaces."""

import ast
import ctypes
import json
import os
import platform
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from executors import Job, JobKind, Pool, protocol, seccomp
from executors.launch import Tier, parse_tier
from executors.probe import probe, require_tier

REPOSITORY = Path(__file__).parents[2]

# A process in which namespaces are refused, as inside a usual container.
NO_NAMESPACES = """
import ctypes, json, os, struct, sys
sys.path.insert(0, {repository!r})
from executors import seccomp
program = seccomp._start(seccomp._machine())
for name in ("unshare", "mount", "setns", "pivot_root"):
    program.deny(seccomp._number(name, seccomp._machine()), 1)
clone = seccomp._number("clone", seccomp._machine())
program.deny_if(clone, 0, seccomp._JSET, seccomp._OTHER_NAMESPACES | seccomp.CLONE_NEWPID, 1)
program.add(seccomp._RET, seccomp._ALLOW)
# clone3 and Landlock are new: clone3 stays refused (ENOSYS), Landlock must stay possible.
code = [entry for entry in program.code]
text = b"".join(struct.pack("=HBBI", *entry) for entry in code)
landlock = [(0x15, 0, 1, number) for number in (444, 445, 446)]
head = [(0x20, 0, 0, 0)] + [step for number in {landlock} for step in ((0x15, 0, 1, number), (6, 0, 0, 0x7FFF0000))]
text = b"".join(struct.pack("=HBBI", *entry) for entry in head) + text
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(text)
packed = struct.pack("@HP", len(text) // 8, ctypes.addressof(buffer))
address = ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p).value
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_void_p(address), 0, 0) == 0
"""


def without_namespaces(script, landlock=True):
    start = NO_NAMESPACES.format(repository=str(REPOSITORY), landlock=[444, 445, 446] if landlock else [])
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
        check=False,
    )


def test_every_tier_holds_here():
    for tier in Tier:
        if tier is Tier.LANDLOCK and ctypes.CDLL(None).syscall(444, None, 0, 1) < 0:
            pytest.skip("this kernel has no Landlock")
        assert probe(tier).fault == ""


def test_refused_namespaces_are_an_error_with_the_fix():
    done = without_namespaces(
        """
        from executors import Pool
        try:
            Pool("python", workers=1).__enter__()
        except ValueError as error:
            print(error)
        """
    )
    assert "allow_tier is 'namespaces' but this machine gives only" in done.stdout, done.stderr
    assert "Install bubblewrap" in done.stdout
    assert "set allow_tier to" in done.stdout


ATTACKS_WITHOUT_NAMESPACES = """
    import json, os
    from executors import *
    open("/var/tmp/azr_secret_file", "w").write("SECRET-CANARY")
    os.environ["AZR_TEST_SECRET"] = "SECRET-CANARY"
    sources = {
        "benign": "def f(x):\\n    return x + 1",
        "fork": "import os\\ndef f(x):\\n    return os.fork()",
        "kill": "import os\\ndef f(x):\\n    os.kill(%d, 0)\\n    return 'could'" % os.getpid(),
        "kill_parent": "import os\\ndef f(x):\\n    os.kill(os.getppid(), 9)\\n    return 'could'",
        "socket": "import socket\\ndef f(x):\\n    return str(socket.socket())",
        "write": "def f(x):\\n    open('/var/tmp/azr_probe', 'w')\\n    return 'could'",
        "read": "def f(x):\\n    return open('/var/tmp/azr_secret_file').read()",
        "environ": "def f(x):\\n    return open('/proc/%d/environ').read()" % os.getpid(),
        "spin": "def f(x):\\n    while True: pass",
        "after": "def f(x):\\n    return x + 1",
    }
    outcomes = {}
    with Pool("python", workers=1, limits=Limits(wall_s=1.0, cpu_s=1.0), allow_tier=TIER, cold=COLD) as pool:
        assert pool.tier.name.lower() == TIER
        for name, source in sources.items():
            verdict = pool.submit(Job(name, JobKind.EVALUATE, source, ("1",))).result()
            outcomes[name] = [verdict.status.value, verdict.values]
        program = "open('a.txt', 'w').write('a')\\nprint(open('a.txt').read())"
        verdict = pool.submit(Job("program", JobKind.PROGRAM, program)).result()
        outcomes["program"] = [verdict.status.value, verdict.stdout]
    os.unlink("/var/tmp/azr_secret_file")
    print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("tier", ["landlock", "limits"])
def test_containment_without_namespaces(tier, cold):
    if tier == "landlock" and ctypes.CDLL(None).syscall(444, None, 0, 1) < 0:
        pytest.skip("this kernel has no Landlock")
    script = ATTACKS_WITHOUT_NAMESPACES.replace("TIER", repr(tier)).replace("COLD", repr(cold))
    done = without_namespaces(script, landlock=tier == "landlock")
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    for name in ("benign", "after"):
        assert outcomes[name] == ["ok", ["2"]]
    for name in ("fork", "kill", "kill_parent", "socket", "write"):
        assert outcomes[name] == ["runtime_error", []], name
    if tier == "landlock":
        assert outcomes["read"] == outcomes["environ"] == ["runtime_error", []]
    assert outcomes["spin"] == ["timeout", []]
    assert outcomes["program"] == ["ok", "a\n"]
    assert not Path("/var/tmp/azr_probe").exists()


def test_tier_names():
    assert parse_tier("namespaces") > parse_tier("landlock") > parse_tier("limits")
    with pytest.raises(ValueError, match="allow_tier is 'docker': use one of namespaces, landlock, limits"):
        require_tier("docker")


def run_under(program, script):
    """Standard output of `script` in a Python process under the seccomp `program`."""
    install = f"""
        import ctypes, os, struct
        text = bytes.fromhex({program.hex()!r})
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(text)
        packed = struct.pack("@HP", len(text) // 8, ctypes.addressof(buffer))
        address = ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p).value
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        assert libc.prctl(22, 2, ctypes.c_void_p(address), 0, 0) == 0
        def attempt(action, *arguments):
            try:
                result = action(*arguments)
            except (OSError, RuntimeError) as error:
                return getattr(error, "errno", "refused")
            if action is os.fork and result == 0:
                os._exit(0)
            return "possible"
    """
    text = textwrap.dedent(install) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


SCRIPT = """
    import socket, threading
    thread = threading.Thread(target=int)
    print(attempt(os.fork), attempt(socket.socket), attempt(open, "/dev/null", "w"), attempt(open, "/dev/null"),
          attempt(thread.start), attempt(os.memfd_create, "x"), attempt(os.kill, os.getpid(), 0),
          attempt(os.execv, "/nowhere", ["x"]))
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (seccomp.worker_filter(), ["possible", "1", "possible", "possible", "possible", "possible", "possible", "2"]),
        (seccomp.single_filter(), ["1", "1", "possible", "possible", "possible", "possible", "possible", "2"]),
        (seccomp.child_filter(), ["1", "1", "30", "possible", "possible", "1", "1", "1"]),
    ],
    ids=["worker", "single", "child"],
)
def test_seccomp_programs(program, expected):
    assert run_under(program, SCRIPT) == expected


def test_seccomp_refuses_calls_by_other_numbers():
    # x32 numbers, clone3, io_uring_setup and a number of the future must not be ways around the list.
    if platform.machine() != "x86_64":
        pytest.skip("x32 numbers are of x86-64")
    script = """
        for number in (0x40000000 + 41, 435, 425, 600):
            ctypes.set_errno(0)
            libc.syscall(number, 0, 0, 0, 0)
            print(ctypes.get_errno())
    """
    assert run_under(seccomp.child_filter(), script) == ["38"] * 4


def test_seccomp_jumps_stay_inside_the_program():
    for program in (seccomp.worker_filter(), seccomp.single_filter(), seccomp.child_filter(namespaces=False)):
        code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
        assert len(code) < 4096
        assert code[-1][0] == seccomp._RET
        for index, (operation, true, false, _) in enumerate(code):
            if operation in (seccomp._JEQ, seccomp._JGE, seccomp._JSET):
                assert index + 1 + max(true, false) < len(code)


def test_frames():
    fields = [b"", b"a" * 1000, bytes(range(256))]
    data = protocol.encode(fields)
    assert protocol.decode(data + b"rest", 1 << 20) == (fields, len(data))
    for length in range(0, len(data), 7):
        assert protocol.decode(data[:length], 1 << 20) is None
    with pytest.raises(protocol.FrameError, match="more than 100 bytes"):
        protocol.decode(data, 100)
    with pytest.raises(protocol.FrameError, match="4294967295 fields"):
        protocol.decode(b"\xff\xff\xff\xff", 100)


def test_sandbox_shows_nothing_of_the_machine(monkeypatch):
    monkeypatch.setenv("AZR_TEST_SECRET", "SECRET-CANARY")
    source = """
    import os, glob
    def f(x):
        seen = {}
        for name in ("/", "/etc", "/tmp", "/home", "/dev", "/azr"):
            seen[name] = sorted(os.listdir(name)) if os.path.isdir(name) else None
        texts = [os.environ.get("AZR_TEST_SECRET", "")]
        for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                texts.append(open(path).read())
            except OSError:
                pass
        seen["secret"] = any("SECRET-CANARY" in text for text in texts)
        seen["uid"] = os.getuid()
        seen["pid"] = os.getpid()
        return seen
    """
    for cold in (False, True):
        with Pool("python", workers=1, cold=cold) as pool:
            verdict = pool.submit(Job("look", JobKind.EVALUATE, textwrap.dedent(source), ("0",))).result()
        seen = ast.literal_eval(verdict.values[0])
        assert seen["secret"] is False
        assert seen["pid"] == 1
        assert seen["uid"] == 1000
        assert seen["/home"] is None
        assert seen["/tmp"] == []
        assert set(seen["/etc"]) <= {"alternatives", "ld.so.cache"}
        assert seen["/azr"] == ["child_filter.bpf", "harness"]
        assert not {"sda", "kvm", "mem", "tty", "ptmx", "shm"} & set(seen["/dev"])
        assert os.path.basename(str(REPOSITORY)) not in seen["/"]
