"""tpu_scripts/ against a fake gcloud: what is called, what a failure does, and runs that end by themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_script

SCRIPTS = REPOSITORY / "tpu_scripts"
# The interpreter of the stubbed checkout: `executors doctor` is content, a run does what `story` says for its start.
STUB_PYTHON = """#!/bin/bash
[[ "$*" == *executors* ]] && { echo "doctor: all well"; exit 0; }
[[ "$*" == *azr_jax.main* ]] || exit 9
[[ $(basename "$HOME") == worker0 ]] || exec sleep 600
echo "$*" >>"$FAKE_GCLOUD/starts"
echo "$JAX_COMPILATION_CACHE_DIR" >>"$FAKE_GCLOUD/caches"
line=$(sed -n "$(wc -l <"$FAKE_GCLOUD/starts")p" "$FAKE_GCLOUD/story")
run="$FAKE_GCLOUD/buckets/my-bucket/julia"
mkdir -p "$run/checkpoints"
for word in $line; do
  case "$word" in
    half*) mkdir -p "$run/checkpoints/${word#half}" ;;
    save*) mkdir -p "$run/checkpoints/${word#save}"; echo "saved ${word#save}"
      touch "$run/checkpoints/${word#save}/commit_success.txt" ;;
    finish*) echo x >"$run/metrics.jsonl"; echo x >"$run/report.html"
      printf '{\\n  "steps": %s,\\n  "seconds": 1.0\\n}\\n' "${word#finish}" >"$run/summary.json" ;;
    hang) exec sleep 600 ;;
    exit*) exit "${word#exit}" ;;
  esac
done
"""


@dataclasses.dataclass(frozen=True)
class Fault:
    """Calls whose words match `match` fail with `stderr`, or end the slice; the first `skip` of them pass."""

    match: str
    stderr: str = ""
    times: int = 1
    skip: int = 0
    status: int = 1
    preempt: bool = False


class Cloud:
    """A checkout with the real scripts, a stubbed interpreter, and a project in which they run."""

    def __init__(self, root: Path) -> None:
        self.root, self.checkout = root, root / "checkout"
        (root / "bin").mkdir()
        self._program("bin/gcloud", f'#!/bin/sh\nexec {sys.executable} -IS {Path(__file__).parent}/fake_gcloud.py "$@"')
        scripts = self.checkout / "tpu_scripts"
        scripts.mkdir(parents=True)
        for name in ("tpu.sh", "configuration.sh", "worker.sh", "tpu.conf"):
            shutil.copy(SCRIPTS / name, scripts)
        (self.checkout / "stub").write_text(STUB_PYTHON)
        place = "mkdir -p .venv/bin && cp stub .venv/bin/python && chmod +x .venv/bin/python"
        self._program("checkout/tpu_scripts/setup_python.sh", f'#!/bin/sh\necho "python $*" >>~/installed; {place}')
        self._program("checkout/tpu_scripts/install_interpreters.sh", '#!/bin/sh\necho "languages $*" >>~/installed')
        git = ["git", "-C", str(self.checkout), "-c", "user.name=t", "-c", "user.email=t@example.com"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "stub"]):
            subprocess.run([*git, *words], check=True)
        self.story("finish exit0")

    def _program(self, name: str, text: str) -> None:
        (self.root / name).write_text(text + "\n")
        (self.root / name).chmod(0o755)

    def story(self, *starts: str) -> None:
        (self.root / "story").write_text("\n".join(starts) + "\n")

    def faults(self, *faults: Fault) -> None:
        (self.root / "faults.json").write_text(json.dumps([dataclasses.asdict(fault) for fault in faults]))

    def tpu(self, *words: str, status: int = 0, **settings: str) -> str:
        """Output of the command, both streams; it must end with `status`."""
        given = {"PROJECT": "my-project", "ZONE": "us-central1-a", "BUCKET": "my-bucket", "WEIGHTS": ""}
        given |= {"POLL_SECONDS": "0", "RETRY_SECONDS": "0", **settings}
        flags = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        environment = {
            "PATH": f"{self.root}/bin:/usr/bin:/bin",
            "HOME": str(self.root),
            "FAKE_GCLOUD": str(self.root),
            "TMPDIR": str(self.root),
            "AZR_JAX_STOP_SECONDS": "5",
        }
        done = run_script([str(self.checkout / "tpu_scripts" / "tpu.sh"), *flags, *words], environment)
        assert done.returncode == status, done.stdout
        return done.stdout

    def calls(self, *wanted: str) -> list[str]:
        """The calls of gcloud so far that have all the words of `wanted`, as lines."""
        file = self.root / "calls.jsonl"
        lines = [shlex.join(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
        return [line for line in lines if all(f" {word} " in f" {line} " for word in wanted)]

    def starts(self) -> int:
        return len((self.root / "starts").read_text().splitlines())

    def state(self) -> dict:
        return json.loads((self.root / "state.json").read_text())

    def end(self) -> None:
        for pid in self.root.glob("worker*/azr_jax_runs/*/pid"):
            try:
                os.killpg(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.end()


def test_a_run_from_nothing_to_its_results(cloud):
    printed = cloud.tpu("--dry-run", "run").splitlines()
    output = cloud.tpu("run")
    assert (cloud.root / "caches").read_text() == "gs://my-bucket/compiled\n"
    assert "finished" in output and "doctor: all well" in output
    called = [json.loads(line) for line in (cloud.root / "calls.jsonl").read_text().splitlines()]
    changing = [
        words for words in called if not {"describe", "ls", "cat"} & set(words) and "worker.sh status" not in words[-1]
    ]
    assert changing == [shlex.split(line)[1:] for line in printed if line.startswith("gcloud")]
    assert cloud.calls("queued-resources", "create") == [
        "compute tpus queued-resources create azr-jax --node-id=azr-jax --runtime-version=v2-alpha-tpuv5-lite"
        " --project=my-project --zone=us-central1-a --accelerator-type=v5litepod-16 --spot"
    ]
    for worker in ("worker0", "worker1"):
        assert (cloud.root / worker / "installed").read_text() == "python tpu\nlanguages julia\n"
    started = (cloud.root / "starts").read_text()
    assert started == (
        "-m azr_jax.main --config=configs/julia.py --workdir=gs://my-bucket/julia"
        " --config.mesh.fsdp=-1 --config.mesh.tensor=2\n"
    )
    assert "finished: gs://my-bucket/julia" in cloud.tpu("status")
    cloud.tpu("fetch", str(cloud.root / "results"))
    assert (cloud.root / "results" / "report.html").exists() and not (cloud.root / "results" / "checkpoints").exists()
    cloud.tpu("delete")
    assert cloud.state() == {}
    assert (cloud.root / "buckets" / "my-bucket" / "julia" / "report.html").exists()


@pytest.mark.ci
def test_a_finished_run_that_is_asked_for_more_steps_goes_on(cloud):
    cloud.story("finish8 exit0", "finish12 exit0")
    flags = {"RUN_FLAGS": "--config.steps=8 --config.mesh.tensor=2"}
    cloud.tpu("run", **flags)
    cloud.tpu("run", **flags)
    cloud.tpu("run", RUN_FLAGS="")
    assert cloud.starts() == 1
    flags = {"RUN_FLAGS": "--config.mesh.tensor=2 --config.steps 12"}
    assert "newest save" in cloud.tpu("status", **flags)
    assert "finished" in cloud.tpu("run", **flags)
    assert cloud.starts() == 2
    assert "finished: gs://my-bucket/julia" in cloud.tpu("status", **flags)


@pytest.mark.slow
def test_every_command_again_does_nothing_again(cloud):
    cloud.story("hang")
    for _ in range(2):
        for command in ("create", "setup", "launch"):
            cloud.tpu(command)
    assert len(cloud.calls("queued-resources", "create")) == 1
    assert (cloud.root / "worker0" / "installed").read_text() == "python tpu\nlanguages julia\n"
    assert cloud.starts() == 1
    assert cloud.tpu("status").count("running") == 2
    assert "stopped" in cloud.tpu("stop") and "not running" in cloud.tpu("stop")
    for _ in range(2):
        cloud.tpu("delete")
    assert len(cloud.calls("queued-resources", "delete")) == 1


def test_a_preempted_slice_is_made_anew_and_the_run_goes_on(cloud):
    cloud.story("save16 hang", "save32 finish exit0")
    cloud.faults(Fault("worker.sh status", skip=2, preempt=True))
    output = cloud.tpu("run")
    assert "the slice is gone" in output and "finished" in output
    assert cloud.starts() == 2
    assert len(cloud.calls("queued-resources", "delete")) == 1
    assert len(cloud.calls("queued-resources", "create")) == 2


@pytest.mark.slow
def test_a_preempted_spot_slice_without_a_queue(cloud):
    cloud.story("save16 hang", "finish exit0")
    cloud.faults(Fault("worker.sh status", preempt=True))
    cloud.tpu("run", PROVISIONING="spot")
    assert [call.split("azr-jax ")[1].split(" --project")[0] for call in cloud.calls("tpu-vm", "create")] == [
        "--version=v2-alpha-tpuv5-lite",
        "--version=v2-alpha-tpuv5-lite",
    ]
    assert len(cloud.calls("tpu-vm", "delete")) == 1 and not cloud.calls("queued-resources")


@pytest.mark.slow
def test_a_preemption_in_the_middle_of_the_setup(cloud):
    cloud.faults(Fault("worker.sh setup", preempt=True))
    assert "finished" in cloud.tpu("run")
    assert len(cloud.calls("queued-resources", "create")) == 2


@pytest.mark.slow
def test_a_run_that_fails_is_started_again_while_it_saves(cloud):
    cloud.story("save16 exit1", "save32 exit1", "save48 exit1", "finish exit0")
    output = cloud.tpu("run", MAX_RESTARTS="1")
    assert cloud.starts() == 4 and "starting again from save 48" in output
    assert len(cloud.calls("queued-resources", "create")) == 1


@pytest.mark.slow
def test_a_run_that_fails_without_saving_is_given_up_with_its_last_lines(cloud):
    cloud.story("save16 exit1", "half32 exit1", *["exit1"] * 9)
    output = cloud.tpu("run", status=1, MAX_RESTARTS="2")
    assert cloud.starts() == 3
    assert "ended 3 times without a further save" in output and "saved 16" in output


@pytest.mark.slow
def test_a_stopped_run_is_started_again(cloud):
    """A preemption notice makes the run save and exit 0, which is no end of the run."""
    cloud.story("save16 exit0", "finish exit0")
    cloud.tpu("run")
    assert cloud.starts() == 2


@pytest.mark.slow
def test_a_passing_failure_is_tried_again(cloud):
    cloud.story("hang")
    cloud.faults(
        Fault("create", "UNAVAILABLE: the service is currently unavailable", times=2),
        Fault("tpu-vm describe", "HttpError accessing <...>: response: <503>", times=2),
        Fault(" scp ", "ssh: connect to host 1.2.3.4 port 22: Connection refused", times=1),
        Fault("worker.sh start", "", status=255, times=4),
    )
    for command in ("create", "setup", "launch"):
        cloud.tpu(command)
    assert cloud.starts() == 1
    cloud.faults(Fault("worker.sh logs", "ssh: Connection timed out", times=5))
    assert "error: gcloud compute tpus tpu-vm ssh azr-jax" in cloud.tpu("logs", status=1)
    assert len(cloud.calls("ssh", "--worker=0")) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        ("PERMISSION_DENIED: Permission 'tpu.nodes.create' denied", "roles/tpu.admin"),
        ("Quota limit 'TPUV5sLitepodPerProjectPerZoneForTPUAPI' has been exceeded", "ask for quota of v5litepod-16"),
        ("RESOURCE_EXHAUSTED: There is no more capacity in the zone", "PROVISIONING=queued-spot"),
        ("INVALID_ARGUMENT: Accelerator v5litepod-15 not found", "correct ACCELERATOR_TYPE"),
        ("You do not currently have an active account; run: $ gcloud auth login", "run: gcloud auth login"),
    ],
)
def test_a_lasting_failure_ends_with_what_to_do(cloud, stderr, advice):
    cloud.faults(Fault("create", stderr, times=99))
    output = cloud.tpu("create", status=1, PROVISIONING="on-demand")
    assert stderr in output
    assert "tpu: error: gcloud compute tpus tpu-vm create" in output and advice in output.splitlines()[-1]
    assert len(cloud.calls("create")) == 1


def test_a_service_that_stays_away_is_an_error(cloud):
    cloud.faults(Fault("describe", "UNAVAILABLE: try later", times=99))
    output = cloud.tpu("create", status=1)
    assert len(cloud.calls("describe")) == 5 and not cloud.calls("create")
    assert "error: gcloud compute tpus queued-resources describe" in output


@pytest.mark.slow
def test_run_waits_for_chips_that_are_not_free(cloud):
    cloud.faults(Fault("create", "RESOURCE_EXHAUSTED: There is no more capacity in the zone", times=3))
    assert "asking again" in cloud.tpu("run", PROVISIONING="spot")
    assert len(cloud.calls("tpu-vm", "create")) == 4


@pytest.mark.slow
def test_a_failed_request_is_made_anew(cloud):
    (cloud.root / "state.json").write_text('{"request": "FAILED"}')
    cloud.tpu("create")
    assert cloud.state() == {"request": "ACTIVE", "slice": "READY"}


@pytest.mark.slow
def test_a_setup_that_fails_on_a_worker_stops_and_the_next_one_goes_on(cloud):
    (cloud.root / "worker1").mkdir()
    (cloud.root / "worker1" / "azr_jax").write_text("in the way")
    cloud.tpu("create")
    assert "worker.sh setup" in cloud.tpu("setup", status=1)
    assert "not set up" in cloud.tpu("launch", status=1) or "azr_jax" in cloud.tpu("launch", status=1)
    (cloud.root / "worker1" / "azr_jax").unlink()
    cloud.tpu("setup")
    cloud.tpu("launch")


def test_a_dry_run_prints_the_commands_and_calls_nothing(cloud):
    output = cloud.tpu("--dry-run", "run", WEIGHTS="a model", IMAGE="")
    assert not cloud.calls()
    commands = [shlex.split(line) for line in output.splitlines()]
    assert all("--quiet" in words for words in commands if {"ssh", "scp"} & set(words))
    assert [words[:5] for words in commands if words[0] == "gcloud"] == [
        ["gcloud", "compute", "tpus", "queued-resources", "create"],
        ["gcloud", "compute", "tpus", "tpu-vm", "scp"],
        ["gcloud", "compute", "tpus", "tpu-vm", "ssh"],
        ["gcloud", "compute", "tpus", "tpu-vm", "ssh"],
    ]
    assert shlex.split(commands[3][-1])[-5:] == ["setup", "julia", "a model", "", ""]
    for command in ("create", "setup", "launch", "status", "logs", "stop", "fetch", "delete"):
        assert "gcloud" in cloud.tpu("--dry-run", command)
    assert not cloud.calls()


def gcloud_table() -> dict:
    """The commands and flags of the Google Cloud CLI installed here."""
    program = shutil.which("gcloud")
    table = Path(program).resolve().parents[1] / "data/cli/gcloud_completions.py" if program else None
    if table is None or not table.exists():
        pytest.skip("the Google Cloud CLI is not installed here")
    variables: dict = {}
    exec(compile(table.read_text(), table, "exec"), variables)  # noqa: S102
    return variables["STATIC_COMPLETION_CLI_TREE"]


@pytest.mark.slow
@pytest.mark.parametrize("provisioning", ["queued-spot", "on-demand"])
def test_the_real_gcloud_has_the_commands_and_flags(cloud, provisioning):
    table = gcloud_table()
    lines: list[str] = []
    for command in ("run", "status", "logs", "stop", "fetch", "delete"):
        lines += cloud.tpu("--dry-run", command, PROVISIONING=provisioning).splitlines()
    checked = 0
    for words in (shlex.split(line) for line in lines if line.startswith("gcloud")):
        node, known = table, set(table["flags"])
        for word in words[1:]:
            if word not in node["commands"]:
                break
            node = node["commands"][word]
            known |= set(node["flags"])
        assert not node["commands"], f"{words} names a group of commands"
        flags = {word.split("=")[0] for word in words if word.startswith("--")}
        # The table leaves out --version, which every command has in another meaning.
        assert flags - known <= {"--version"}, words
        checked += len(flags)
    assert checked > 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PROJECT": ""}, "PROJECT is empty: set it in the --config file"),
        ({"NAME": "My TPU"}, "NAME=My TPU: use small letters"),
        ({"BUCKET": "gs://my-bucket/x"}, "BUCKET=gs://my-bucket/x: name the bucket alone"),
        ({"PROVISIONING": "preemptible"}, "PROVISIONING=preemptible: use on-demand, spot, queued or queued-spot"),
        ({"POLL_SECONDS": "1m"}, "POLL_SECONDS=1m: must be a whole number"),
        ({"PROJET": "x"}, "--set: unknown variable 'PROJET'"),
    ],
)
def test_bad_variables(cloud, settings, message):
    assert f"tpu: error: {message}" in cloud.tpu("create", status=1, **settings)
    assert not cloud.calls()


def test_the_configuration_file_is_data(cloud):
    file = cloud.root / "my.conf"
    file.write_text(f"# mine\nNAME=other  \nCREATE_FLAGS=--network=$(touch {cloud.root}/touched) --quiet\n")
    output = cloud.tpu("--config", str(file), "--dry-run", "create", status=1)
    assert "ACCELERATOR_TYPE is empty" in output
    file.write_text((SCRIPTS / "tpu.conf").read_text() + file.read_text())
    output = cloud.tpu("--config", str(file), "--dry-run", "create")
    assert "create other " in output and "'--network=$(touch'" in output
    assert not (cloud.root / "touched").exists()
    file.write_text("NAME: other\n")
    assert "my.conf, line 1: not KEY=VALUE" in cloud.tpu("--config", str(file), "create", status=1)
    assert "can't be read" in cloud.tpu("--config", "nowhere", "create", status=1)
    assert "unknown command 'crate'" in cloud.tpu("crate", status=1)


@pytest.mark.slow
def test_the_run_in_an_image(cloud):
    docker = """#!/bin/bash
echo "$*" >>~/docker
[[ $1 == run ]] || exit 0
while [[ $1 != image:1 ]]; do shift; done
shift
shift
exec bash "$HOME/azr_jax/stub" "$@"
"""
    cloud._program("bin/docker", docker)
    cloud._program("bin/sudo", '#!/bin/bash\nshift 2\nexec "$@"')
    cloud.tpu("run", IMAGE="image:1")
    calls = (cloud.root / "worker0" / "docker").read_text().splitlines()
    assert calls[0] == "pull --quiet image:1"
    assert calls[1].endswith(" image:1 python -m executors doctor julia")
    assert calls[1].startswith("run --rm --privileged --net=host --stop-timeout 60 --name azr_jax_check ")
    assert " --env JAX_COMPILATION_CACHE_DIR=gs://my-bucket/compiled image:1 " in calls[-1]
    assert calls[-1].endswith("--config.mesh.tensor=2") and " image:1 python -m azr_jax.main " in calls[-1]


def test_shellcheck():
    program = Path(sys.executable).parent / "shellcheck"
    files = sorted(map(str, SCRIPTS.glob("*.sh")))
    assert len(files) >= 5
    done = subprocess.run([program, "-x", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
