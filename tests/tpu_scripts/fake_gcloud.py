"""A `gcloud` for tests: a project in a folder, whose slice has workers that are folders, with faults on demand.

The folder FAKE_GCLOUD has `state.json` (the slice and its queued request), `calls.jsonl` (one argument list a call),
`faults.json` (see `Fault` in test_tpu.py), `worker0`... (homes) and `buckets`. Remote commands run here, by bash.
"""

import glob
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(os.environ["FAKE_GCLOUD"])
WORKERS = 2


def read(name, otherwise):
    file = ROOT / name
    return json.loads(file.read_text()) if file.exists() else otherwise


def fail(message, status=1):
    sys.stderr.write(f"ERROR: {message}\n")
    sys.exit(status)


def homes():
    return [ROOT / f"worker{number}" for number in range(WORKERS)]


def preempt(state):
    """The machines vanish with all that runs and lies on them."""
    for home in homes():
        for pid in home.glob("azr_jax_runs/*/pid"):
            try:
                os.killpg(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(home, ignore_errors=True)
    if state.get("request"):
        state["request"] = "SUSPENDED"
        state.pop("slice", None)
    else:
        state["slice"] = "PREEMPTED"


def inject(words, state):
    """The first fault that this call meets: an error, or the slice's end."""
    faults = read("faults.json", [])
    line = " ".join(words)
    for fault in faults:
        if fault["times"] and re.search(fault["match"], line):
            if fault["skip"]:
                fault["skip"] -= 1
                break
            fault["times"] -= 1
            (ROOT / "faults.json").write_text(json.dumps(faults))
            if fault["preempt"]:
                preempt(state)
                (ROOT / "state.json").write_text(json.dumps(state))
                return
            fail(fault["stderr"], fault["status"])
    (ROOT / "faults.json").write_text(json.dumps(faults))


def flag(words, name):
    return next((word.split("=", 1)[1] for word in words if word.startswith(f"{name}=")), None)


def describe(state, kind, name):
    if kind == "slice" and state.get("request") == "ACTIVE" and "slice" not in state:
        state["slice"] = "CREATING"
    if kind not in state:
        fail(f"(gcloud.describe) NOT_FOUND: Resource '{name}' was not found")
    sys.stdout.write(state[kind] + "\n")
    # The next look sees the next state.
    onward = {"ACCEPTED": "WAITING_FOR_RESOURCES", "WAITING_FOR_RESOURCES": "ACTIVE", "CREATING": "READY"}
    state[kind] = onward.get(state[kind], state[kind])


def create(words, state, kind):
    if kind in state:
        fail("ALREADY_EXISTS: Resource already exists")
    state[kind] = "CREATING" if kind == "slice" else "ACCEPTED"


def delete(state, kind, name):
    if kind not in state:
        fail(f"NOT_FOUND: Resource '{name}' was not found")
    preempt(state)
    state.clear()


def chosen_homes(words, state):
    if state.get("slice") != "READY":
        fail("TPU is not in a READY state")
    worker = flag(words, "--worker")
    for home in homes():
        home.mkdir(exist_ok=True)
    return homes() if worker == "all" else [homes()[int(worker)]]


def ssh(words, state):
    status = 0
    for home in chosen_homes(words, state):
        environment = os.environ | {"HOME": str(home)}
        command = ["bash", "-c", flag(words, "--command")]
        status = max(status, subprocess.run(command, cwd=home, env=environment, check=False).returncode)
    sys.exit(status)


def local(url):
    return ROOT / "buckets" / url.removeprefix("gs://") if url.startswith("gs://") else pathlib.Path(url)


def storage(words):
    paths = [word for word in words[1:] if not word.startswith("--")]
    if words[0] == "ls":
        path = local(paths[0])
        paths = sorted(map(pathlib.Path, glob.glob(str(path))))
        if not paths:
            fail("One or more URLs matched no objects.")
        if path.is_dir():
            paths = sorted(path.iterdir())
        for entry in paths:
            sys.stdout.write(f"gs://{entry.relative_to(ROOT / 'buckets')}{'/' if entry.is_dir() else ''}\n")
    elif words[0] == "cat":
        sys.stdout.write(local(paths[0]).read_text())
    else:
        exclude = flag(words, "--exclude")
        source, target = map(local, paths)
        for file in source.rglob("*"):
            name = str(file.relative_to(source))
            if file.is_file() and not (exclude and re.match(exclude, name)):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target / name)


def main(words):
    with (ROOT / "calls.jsonl").open("a") as stream:
        stream.write(json.dumps(words) + "\n")
    state = read("state.json", {})
    inject(words, state)
    if words[0] == "storage":
        storage(words[1:])
        return
    group, verb, name = words[2:5]
    kind = "slice" if group == "tpu-vm" else "request"
    if verb == "ssh":
        ssh(words, state)
    elif verb == "scp":
        for home in chosen_homes(words, state):
            shutil.copyfile(words[4], home / words[5].split(":")[1])
    elif verb == "describe":
        describe(state, kind, name)
    elif verb == "create":
        create(words, state, kind)
    elif verb == "delete":
        delete(state, kind, name)
    elif verb == "start":
        state["slice"] = "CREATING"
    else:
        fail(f"INVALID_ARGUMENT: no such command: {verb}")
    (ROOT / "state.json").write_text(json.dumps(state))


main(sys.argv[1:])
