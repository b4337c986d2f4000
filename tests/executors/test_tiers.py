"""What contains programs on other machines: an ordinary user, a container that refuses namespaces, little at all.

Such machines are made of this one: `setpriv` takes rights away, and a seccomp filter refuses what a container's does.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ci_in

from executors import LANGUAGES
from executors.doctor import landlock_version
from executors.sandbox.launch import Tier
from executors.sandbox.probe import probe
from tests.executors.filters import INSTALL_FILTER

REPOSITORY = Path(__file__).parents[2]
PROBE = Path("/var/tmp/azr_probe")
NOBODY = {"user": 65534, "group": 65534, "extra_groups": ()}
# What Docker leaves to root.
DOCKER = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,sys_chroot,mknod,setfcap"
RIGHTS = {
    "root": None,
    "root of a container": ["--bounding-set=-all,+" + ",+".join(DOCKER.split(","))],
    "root without capabilities": ["--bounding-set=-all", "--inh-caps=-all"],
    "ordinary user": None,
}
REFUSE_NAMESPACES = """
from executors.sandbox import seccomp
rules = seccomp.Rules(seccomp._machine())
rules.deny(["unshare", "mount", "setns", "pivot_root"], 1)
namespaces = seccomp._OTHER_NAMESPACES | seccomp.CLONE_NEWPID
rules.add("clone", seccomp._by_value(0, seccomp._JSET, (namespaces,), seccomp._error(1), seccomp._ALLOW))
for number in {refused}:
    rules._rules[number] = (seccomp._return(seccomp._error(38)),)
text = rules.assemble()
"""
# clone3, which goes by the number of arguments in memory that a filter can't see; the calls of Landlock
CLONE3, LANDLOCK = 435, (444, 445, 446)


def python_for_anybody():
    """An interpreter that a user without rights can start; skips the test when there is none."""
    check = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import executors.pool"
    for path in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if subprocess.run([path, "-c", check], cwd="/", capture_output=True, check=False, **NOBODY).returncode == 0:
                return path
    pytest.skip("no interpreter and repository that an ordinary user can read")


def run_with(rights, script, namespaces=True, landlock=True):
    """The outcome of a script in a process with other rights."""
    PROBE.unlink(missing_ok=True)
    if os.geteuid() != 0 and rights != "root":
        pytest.skip("only root can take rights away; run as an ordinary user every test is of one")
    if RIGHTS[rights] and shutil.which("setpriv") is None:
        pytest.skip("no setpriv: install util-linux")
    python = python_for_anybody() if rights == "ordinary user" else sys.executable
    text = f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
    if not namespaces:
        text += REFUSE_NAMESPACES.format(refused=[CLONE3, *(() if landlock else LANDLOCK)]) + INSTALL_FILTER
    command = [python, "-c", text + textwrap.dedent(script)]
    if RIGHTS[rights]:
        command = ["setpriv", *RIGHTS[rights], *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        check=False,
        env={"PATH": os.environ["PATH"]},
        **(NOBODY if rights == "ordinary user" else {}),
    )


def test_every_tier_holds_here():
    for tier in Tier:
        if tier is Tier.LANDLOCK and not landlock_version():
            continue
        assert probe(tier).fault == ""


ATTACKS = """
    import json, logging, os
    from executors import *
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    open("/var/tmp/azr_secret_file", "w").write("SECRET-CANARY")
    os.environ["AZR_TEST_SECRET"] = "SECRET-CANARY"
    parent = os.getpid()
    sources = {
        "benign": "def f(x):\\n    return x + 1",
        "fork": "import os\\ndef f(x):\\n    return os.fork()",
        "exec": "import os\\ndef f(x):\\n    os.execv('/bin/true', ['true'])",
        "kill": f"import os\\ndef f(x):\\n    os.kill({parent}, 0)\\n    return 'could'",
        "kill_parent": "import os\\ndef f(x):\\n    os.kill(os.getppid(), 9)\\n    return 'could'",
        "kill_group": "import os\\ndef f(x):\\n    os.kill(0, 9)\\n    return 'could'",
        "parent_memory": "import os\\ndef f(x):\\n    return open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
        "socket": "import socket\\ndef f(x):\\n    return str(socket.socket())",
        "write": "def f(x):\\n    open('/var/tmp/azr_probe', 'w')\\n    return 'could'",
        "memory": "def f(x):\\n    return len(bytearray(1 << 33))",
        "mode": "import os\\ndef f(x):\\n    os.fchmod(os.open(os.__file__, 0), 0o644)\\n    return 'could'",
        "slow": f"import os\\ndef f(x):\\n    os.setpriority(os.PRIO_PROCESS, {parent}, 19)\\n    return 'could'",
        "cores": f"import os\\ndef f(x):\\n    os.sched_setaffinity({parent}, [0])\\n    return 'could'",
        "signal": f"import fcntl, os\\ndef f(x):\\n    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, {parent})\\n"
        "    return 'could'",
        "read": "def f(x):\\n    return open('/var/tmp/azr_secret_file').read()",
        "environ": f"def f(x):\\n    return open('/proc/{parent}/environ').read()",
        "spin": "def f(x):\\n    while True: pass",
        "sleep": "import time\\ndef f(x):\\n    time.sleep(100)",
        "date": "import datetime\\ndef f(x):\\n    return datetime.datetime.utcnow().day",
        "after": "def f(x):\\n    return x + 1",
    }
    outcomes = {}
    with Pool("python", workers=1, limits=Limits(wall_s=1.0, cpu_s=1.0), allow_tier=TIER, cold=COLD) as pool:
        outcomes["tier"] = pool.tier.name.lower()
        for name, source in sources.items():
            twice = name in ("benign", "date")
            verdict = pool.submit(Job(name, JobKind.EVALUATE, source, ("1",), determinism=twice)).result()
            outcomes[name] = [verdict.status.value, verdict.values]
        program = PROGRAM.replace("PARENT", str(parent))
        open("/var/tmp/azr_mine", "w").close()
        verdict = pool.submit(Job("program", JobKind.PROGRAM, program)).result()
        outcomes["program"] = [verdict.status.value, verdict.stdout.split(), verdict.stderr]
        os.unlink("/var/tmp/azr_mine")
    os.unlink("/var/tmp/azr_secret_file")
    print(json.dumps(outcomes))
"""


# A whole program; it prints what it could do.
PROGRAM = """
import fcntl, os
def attempt(name, action, *arguments):
    try:
        action(*arguments)
        print(name)
    except OSError:
        pass
attempt("folder", open, "a.txt", "w")
attempt("kill", os.kill, PARENT, 0)
attempt("slow", os.setpriority, os.PRIO_PROCESS, PARENT, 19)
attempt("signal", fcntl.fcntl, os.pipe()[0], fcntl.F_SETOWN, PARENT)
attempt("mode", os.fchmod, os.open(os.__file__, 0), 0o644)
attempt("write", open, "/var/tmp/azr_probe", "w")
attempt("remove", os.unlink, "/var/tmp/azr_mine")
attempt("fork", os.fork)
"""


def check_attacks(done, tier):
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes["tier"] == tier
    assert f"tier {tier}" in done.stderr
    for name in ("benign", "after"):
        assert outcomes[name] == ["ok", ["2"]]
    refused = "fork exec kill kill_parent kill_group parent_memory socket write mode slow cores signal"
    for name in refused.split():
        assert outcomes[name] == ["runtime_error", []], name
    if tier != "limits":
        assert outcomes["read"] == outcomes["environ"] == ["runtime_error", []]
    assert outcomes["spin"] == outcomes["sleep"] == ["timeout", []]
    assert outcomes["memory"] == ["memory", []]
    assert outcomes["date"] == ["nondeterministic", []]
    # In the least tier nothing tells its own folder from the user's others.
    assert outcomes["program"] == ["ok", [] if tier == "limits" else ["folder"], ""]
    assert not PROBE.exists()


def attacks(tier, cold):
    return ATTACKS.replace("TIER", repr(tier)).replace("COLD", repr(cold)).replace("PROGRAM.r", f"{PROGRAM!r}.r")


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.ci
def test_ordinary_user_has_namespaces(cold):
    if probe(Tier.NAMESPACES).fault:
        pytest.skip("this machine refuses namespaces")
    check_attacks(run_with("ordinary user", attacks("namespaces", cold)), "namespaces")


@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["warm", "cold"])
@pytest.mark.parametrize("rights", ci_in(sorted(RIGHTS), "root of a container", "root without capabilities"))
@pytest.mark.parametrize("tier", ["landlock", "limits"])
def test_containment_without_namespaces(tier, rights, cold):
    if tier == "landlock" and not landlock_version():
        pytest.skip("this kernel has no Landlock")
    done = run_with(rights, attacks(tier, cold), namespaces=False, landlock=tier == "landlock")
    check_attacks(done, tier)


@pytest.mark.parametrize("rights", ["root", "ordinary user"])
def test_refused_namespaces_are_an_error_with_the_fix(rights):
    script = """
        from executors import Pool
        try:
            Pool("python", workers=1).__enter__()
        except ValueError as error:
            print(error)
    """
    done = run_with(rights, script, namespaces=False)
    assert "allow_tier is 'namespaces' but this machine gives only" in done.stdout, done.stderr
    assert "Install bubblewrap" not in done.stdout
    assert "No permissions" in done.stdout
    assert "set allow_tier to" in done.stdout


@pytest.mark.parametrize("language", ci_in(("javascript", "julia", "racket"), "julia", "racket"))
def test_every_warm_language_works_without_namespaces(language):
    """Julia in its own root can't, and says so."""
    script = f"""
        import sys
        from executors import LANGUAGES, Job, JobKind, Pool
        language = LANGUAGES[{language!r}]
        if language.find() is None:
            print("absent")
            raise SystemExit
        loop = {{"racket": "(define (f x) (let loop () (loop)))", "javascript": "function f(x) {{ for (;;); }}",
                "julia": "f(x) = while true; end"}}
        from executors import Limits
        try:
            with Pool(language, workers=1, limits=Limits(wall_s=3.0, cpu_s=3.0), allow_tier="limits") as pool:
                late = pool.submit(Job("1", JobKind.EVALUATE, loop[{language!r}], (language.identity_input,)))
                job = Job("2", JobKind.EVALUATE, language.identity, (language.identity_input,))
                print(late.result().status, pool.submit(job).result().values == (language.identity_output,))
        except ValueError as error:
            print(error)
    """
    done = run_with("root", script, namespaces=False)
    if "absent" in done.stdout:
        pytest.skip(f"{language} is not installed")
    if "needs namespaces: install one in the system" in done.stdout:
        assert language == "julia"
    else:
        assert done.stdout == "timeout True\n", done.stdout + done.stderr


def test_whole_programs_change_user_as_others_do():
    """Whatever the modes are that this process gives to its files."""
    if LANGUAGES["javascript"].find() is None or not landlock_version():
        pytest.skip("javascript is not installed, or this kernel has no Landlock")
    script = """
        import os
        from executors import Job, JobKind, Pool
        os.umask(0o077)
        with Pool("javascript", workers=1, allow_tier="limits") as pool:
            job = Job("1", JobKind.EVALUATE, "function f(x) { return process.getuid(); }", ("1",))
            print(*pool.submit(job).result().values)
            program = "require('fs').appendFileSync('program.js', '//'); console.log(process.getuid())"
            print(pool.submit(Job("2", JobKind.PROGRAM, program)).result().stdout)
    """
    done = run_with("root", script, namespaces=False)
    evaluated, whole = done.stdout.split()
    assert evaluated == whole, done.stderr


@pytest.mark.ci
def test_no_program_opens_its_memory_for_a_later_one():
    """As an ordinary user: a process that is closed to others has files in /proc that are not its own."""
    if probe(Tier.NAMESPACES).fault:
        pytest.skip("this machine refuses namespaces")
    script = """
        from executors import LANGUAGES, Job, JobKind, Pool
        owners = {
            "python": "import os\\ndef f(x):\\n    return os.stat('/proc/self/mem').st_uid",
            "javascript": "function f(x) { return require('fs').statSync('/proc/self/mem').uid; }",
            "ocaml": '#load "unix.cma";;\\nlet f x = (Unix.stat "/proc/self/mem").Unix.st_uid',
            "racket": '(define (f x) (hash-ref (file-or-directory-stat "/proc/self/mem") (quote user-id)))',
            "julia": 'f(x) = Int(stat("/proc/self/mem").uid)',
            "r": "f <- function(x) file.info('/proc/self/mem')$uid",
            # It has no call that says whose a file is; only its owner may open this one.
            "lua": "function f(x) return io.open('/proc/self/mem') and 1000 or 0 end",
        }
        opens = {
            "python": "import ctypes\\ndef f(x):\\n    return ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)",
            "racket": "(require ffi/unsafe)\\n(define prctl (get-ffi-obj 'prctl #f (_fun #:varargs-after 1 _int _long"
            " _long _long _long -> _int)))\\n(define (f x) (prctl 4 1 0 0 0))",
            "julia": "f(x) = Int(ccall(:prctl, Cint, (Cint, Culong, Culong, Culong, Culong), 4, 1, 0, 0, 0))",
        }
        for name, source in owners.items():
            if LANGUAGES[name].find() is None:
                continue
            with Pool(name, workers=1) as pool:
                job = Job("owner", JobKind.EVALUATE, source, ("1",))
                before = pool.submit(job).result()
                changes = Job("open", JobKind.EVALUATE, opens.get(name, source), ("1",))
                changed = pool.submit(changes).result().values
                print(name, *before.values, *changed, *pool.submit(job).result().values)
    """
    done = run_with("ordinary user", script)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows and rows[0] == ["python", "65534", "0", "65534"], done.stdout + done.stderr
    for name, before, changed, after in rows:
        assert before == after, name
        assert changed == ("0" if name in ("python", "racket", "julia") else before), name
        # An interpreter that is started afresh has a memory of its own.
        assert before == {"ocaml": "1000", "r": "1000L", "lua": "1000"}.get(name, "65534"), name
