"""What contains a process: live probes of each tier, seccomp programs, frames, a machine without namespaces."""

import ast
import dataclasses
import os
import platform
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.inside import protocol
from executors.sandbox import seccomp
from executors.sandbox.launch import Tier, parse_tier
from executors.sandbox.probe import probe, require_tier
from tests.executors.filters import INSTALL_FILTER
from tests.executors.processes import read_by_python

REPOSITORY = Path(__file__).parents[2]


def test_tier_names():
    assert parse_tier("namespaces") > parse_tier("landlock") > parse_tier("limits")
    with pytest.raises(ValueError, match="allow_tier is 'docker': use one of namespaces, landlock, limits"):
        require_tier("docker")


def run_under(program, script):
    """Standard output of `script` in a Python process under the seccomp `program`."""
    attempt = """
        import os
        def attempt(action, *arguments):
            try:
                result = action(*arguments)
            except (OSError, RuntimeError) as error:
                return getattr(error, "errno", "refused")
            if action is os.fork and result == 0:
                os._exit(0)
            return "possible"
    """
    text = f"text = bytes.fromhex({program.hex()!r})\n{INSTALL_FILTER}"
    text += textwrap.dedent(attempt) + textwrap.dedent(script)
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


def test_seccomp_refuses_what_reaches_others_of_the_same_user():
    """Signals by a descriptor's owner, priorities, what a file is, aims of ioctl: no name of theirs says so."""
    script = """
        import fcntl, sys
        file, (read, write) = os.open(sys.executable, os.O_RDONLY), os.pipe()
        mode, cores = os.fstat(file).st_mode & 0o7777, os.sched_getaffinity(0)
        F_SETSIG, F_SETPIPE_SZ, FS_IOC_GETFLAGS, FIONREAD = 10, 1031, 0x80086601, 0x541B
        print(attempt(fcntl.fcntl, read, fcntl.F_SETOWN, os.getpid()), attempt(fcntl.fcntl, read, F_SETSIG, 9),
              attempt(fcntl.fcntl, write, F_SETPIPE_SZ, 4096), attempt(os.setpriority, os.PRIO_PROCESS, 0, 19),
              attempt(os.sched_setaffinity, 0, cores), attempt(os.fchmod, file, mode),
              attempt(os.utime, file), attempt(fcntl.ioctl, file, FS_IOC_GETFLAGS, bytes(8)),
              attempt(fcntl.ioctl, read, FIONREAD, bytes(4)), attempt(os.mkdir, "/nowhere/x"),
              attempt(open, "/dev/null", "w"))
    """
    inside = run_under(seccomp.single_filter(), script)
    assert inside[:7] == ["possible"] * 5 + ["1", "1"] and inside[8:] == ["possible", "2", "possible"]
    shared = ["1"] * 7
    assert run_under(seccomp.single_filter(namespaces=False), script)[:7] == shared
    read_only = run_under(seccomp.single_filter(namespaces=False, read_only=True), script)
    assert read_only[:7] == shared and read_only[8:] == ["possible", "possible", "30"]
    child = ["1"] * 5 + ["30", "30", "25", "possible", "30", "30"]
    assert (
        run_under(seccomp.child_filter(), script) == run_under(seccomp.child_filter(namespaces=False), script) == child
    )


def test_seccomp_refuses_timers_that_kill_their_own_process():
    # In a PID namespace of its own a process is PID 1, which ignores what it sends itself.
    number = seccomp._NUMBERS["timer_create"][0 if platform.machine() == "x86_64" else 1]
    script = f"""
        import struct
        event, timer = ctypes.create_string_buffer(struct.pack("=qii", 0, 9, 0), 64), ctypes.c_long()
        print(libc.syscall({number}, 1, event, ctypes.byref(timer), 0, 0))
    """
    assert run_under(seccomp.single_filter(), script) == run_under(seccomp.child_filter(), script) == ["0"]
    assert run_under(seccomp.single_filter(namespaces=False), script) == ["-1"]
    assert run_under(seccomp.child_filter(namespaces=False), script) == ["-1"]


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


def fate(program, machine, number, *arguments):
    """The errno that a seccomp program gives a system call; 0 when it is allowed. Interprets the program."""
    code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
    data = struct.pack("=IIQ6Q", number, seccomp.MACHINES[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    at, loaded = 0, 0
    while True:
        operation, true, false, k = code[at]
        at += 1
        if operation == seccomp._LD_ABS:
            (loaded,) = struct.unpack_from("=I", data, k)
        elif operation == seccomp._JA:
            at += k
        elif operation == seccomp._AND:
            loaded &= k
        elif operation == seccomp._RET:
            return 0 if k == seccomp._ALLOW else k - seccomp._ERRNO
        else:
            holds = {seccomp._JEQ: loaded == k, seccomp._JGE: loaded >= k, seccomp._JSET: bool(loaded & k)}
            at += true if holds[operation] else false


@pytest.mark.parametrize(("column", "machine"), [*enumerate(seccomp.MACHINES)])
def test_seccomp_programs_of_both_machines(column, machine, monkeypatch):
    monkeypatch.setattr(seccomp, "_machine", lambda: machine)
    child = seccomp.child_filter.__wrapped__()
    numbers = {name: pair[column] for name, pair in seccomp._NUMBERS.items() if pair[column] is not None}
    denied = [*seccomp._ALWAYS_DENIED, *seccomp._CHILD_DENIED, *seccomp._SIGNALS, *seccomp._PRIORITIES]
    assert {fate(child, machine, numbers[name]) for name in denied if name in numbers} == {1}
    read_only = [*seccomp._OF_OWNERS, *seccomp._MAKE_FOLDERS, *seccomp._CHANGES_OF_FOLDERS]
    assert {fate(child, machine, numbers[name]) for name in read_only if name in numbers} == {30}
    cases = {
        "clone": [((17,), 1), ((0x10000,), 0), ((0x3D0F00,), 0)],
        "openat": [
            ((0, 0, 0), 0),
            ((0, 0, 1), 30),
            ((0, 0, 0o100), 30),
            ((0, 0, 0o20200000), 30),
            ((0, 0, 0o200000), 0),
        ],
        "prlimit64": [((0, 7, 0, 1), 0), ((0, 7, 1), 1), ((0, 7, 1 << 32), 1)],
        "socketpair": [((1, 1), 0), ((1, 0x80801), 0), ((1, 2), 1), ((1, 5), 1), ((2, 1), 1)],
        "sendto": [((3, 0, 1), 0), ((3, 0, 1, 0, 1), 1), ((3, 0, 1, 0, 1 << 32), 1)],
        "prctl": [((1,), 1), ((4,), 0)],
        "fcntl": [((0, 1), 0), ((0, 8), 1), ((0, 15), 1), ((0, 3), 0), ((0, 6), 1), ((0, 38), 1), ((0, 1036), 1)],
        "flock": [((0, 2), 37)],
        "ioctl": [((0, 0x5401), 0), ((0, 0x5412), 25), ((0, 0x40086602), 25)],
    }
    for name, tries in cases.items():
        assert [fate(child, machine, numbers[name], *arguments) for arguments, _ in tries] == [end for _, end in tries]
    known = set(numbers.values())
    assert all(fate(child, machine, number) == 0 for number in range(424) if number not in known)
    unknown = {number for number in range(424, 1000) if fate(child, machine, number) != 38}
    assert unknown == set(seccomp._NEW_ALLOWED)
    assert fate(child, machine, 0x40000000 + 41) == 38


def test_seccomp_jumps_stay_inside_the_program():
    shared = (seccomp.single_filter(namespaces=False, read_only=True), seccomp.child_filter(namespaces=False))
    for program in (seccomp.worker_filter(), seccomp.single_filter(program=True), *shared):
        code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
        assert len(code) < 4096
        assert code[-1][0] == seccomp._RET
        for index, (operation, true, false, k) in enumerate(code):
            if operation in (seccomp._JEQ, seccomp._JGE, seccomp._JSET):
                assert index + 1 + max(true, false) < len(code)
            elif operation == seccomp._JA:
                assert index + 1 + k < len(code)


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
        assert (seen["/home"] or []) == read_by_python("/home")
        assert seen["/tmp"] == read_by_python("/tmp")
        assert set(seen["/etc"]) <= {"alternatives", "ld.so.cache"}
        assert seen["/azr"] == ["child_filter.bpf", "harness", "inside"]
        assert not {"sda", "kvm", "mem", "tty", "ptmx", "shm"} & set(seen["/dev"])
        assert os.path.basename(str(REPOSITORY)) not in seen["/"]


def test_what_an_interpreter_reads_may_lie_below_tmp(tmp_path):
    """A checkout in /tmp keeps R's profile there, where whole programs have a folder of their own."""
    table = tmp_path / "table"
    table.write_text("kept")
    language = LANGUAGES["python"]
    interpreter = language.find()
    reads_more = dataclasses.replace(interpreter, read_only=(*interpreter.read_only, table))
    with Pool(dataclasses.replace(language, find=lambda: reads_more), workers=1) as pool:
        job = Job("1", JobKind.PROGRAM, f"print(open({str(table)!r}).read())")
        assert pool.submit(job).result().stdout == "kept\n"


def test_what_this_process_inherited_is_not_passed_on():
    """A background job ignores SIGINT, a trainer may block signals, and a large stack is one of every thread."""
    parent = f"""
        import os, resource, signal, sys
        sys.path.insert(0, {str(REPOSITORY)!r})
        from executors import Job, JobKind, Pool
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        os.umask(0o077)
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 30 if hard < 0 else min(1 << 30, hard), hard))
        source = sys.stdin.read()
        with Pool("python", workers=1) as pool:
            evaluated = pool.submit(Job("1", JobKind.EVALUATE, source, ("1",))).result()
            print(*evaluated.values, evaluated.message)
            whole = pool.submit(Job("2", JobKind.PROGRAM, source + "print(f(1))")).result()
            print(whole.stdout, whole.stderr)
    """
    source = """
        import os, resource, signal, threading
        def f(x):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
            interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            first_to_go = open("/proc/self/oom_score_adj").read()
            return [os.umask(0), resource.getrlimit(resource.RLIMIT_STACK)[0], blocked, interrupts, int(first_to_go)]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(parent)],
        input=textwrap.dedent(source),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert [line.strip() for line in done.stdout.splitlines() if line.strip()] == 2 * ["[18, 8388608, [], True, 1000]"]


# Everything outside its folder that a whole program opens for writing; what it changes there of what a file is.
WRITES = """
import os
found = []
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if not (folder == "/proc" and name.isdigit() and name != str(os.getpid()))]
    for name in names:
        path = os.path.join(folder, name)
        if folder.startswith("/usr/") or os.path.islink(path) or path == os.path.abspath(__file__):
            continue
        for action in (lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)), lambda: os.utime(path, (1, 1)),
                       lambda: os.chmod(path, os.stat(path).st_mode & 0o777), lambda: os.setxattr(path, "user.x", b"")):
            try:
                action()
                found.append(path)
            except OSError:
                pass
print(" ".join(sorted(found)))
"""


@pytest.mark.ci
def test_a_whole_program_writes_its_folder_and_nothing_of_the_machine_whoever_starts_it():
    """Root's own user owns the kernel's settings in /proc/sys and the devices, in a namespace too."""
    if probe(Tier.NAMESPACES).fault:
        pytest.skip("this machine refuses namespaces")
    with Pool("python", workers=1, limits=Limits(wall_s=60.0, cpu_s=30.0)) as pool:
        verdict = pool.submit(Job("writes", JobKind.PROGRAM, WRITES)).result()
        assert verdict.status is Status.OK, verdict
        devices = {f"/dev/{name}" for name in ("full", "null", "random", "urandom", "zero")}
        assert set(verdict.stdout.split()) == devices and len(verdict.stdout.split()) == len(devices)
        own = "open('a.txt', 'w').write('kept')\nprint(open('a.txt').read())"
        assert pool.submit(Job("own", JobKind.PROGRAM, own)).result().stdout == "kept\n"
