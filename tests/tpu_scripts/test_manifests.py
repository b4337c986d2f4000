"""The Kubernetes manifest by schema, the Dockerfile by its linter, and the pod's first process."""

from __future__ import annotations

import copy
import math
import os
import re
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "tpu_scripts"
# Of the JobSet API, v1alpha2: the fields that a user writes, but for deprecated ones. `template` is Kubernetes' own.
JOBSET_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["replicatedJobs"],
            "properties": {
                "network": {"type": "object"},
                "coordinator": {"type": "object"},
                "suspend": {"type": "boolean"},
                "ttlSecondsAfterFinished": {"type": "integer", "minimum": 0},
                "successPolicy": {"type": "object", "required": ["operator"]},
                "failurePolicy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "maxRestarts": {"type": "integer", "minimum": 0},
                        "restartStrategy": {"enum": ["Recreate", "BlockingRecreate", "InPlaceRestart"]},
                        "rules": {"type": "array"},
                    },
                },
                "replicatedJobs": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "template"],
                        "properties": {
                            "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                            "groupName": {"type": "string"},
                            "replicas": {"type": "integer", "minimum": 1},
                            "dependsOn": {"type": "array"},
                            "template": {"type": "object", "required": ["spec"]},
                        },
                    },
                },
            },
        },
    },
}


def manifest() -> dict[str, Any]:
    """The manifest as `envsubst` leaves it."""
    text = string.Template((SCRIPTS / "jobset.yaml").read_text())
    return yaml.safe_load(text.substitute(IMAGE="registry/azr-jax:1", BUCKET="my-bucket", RUN="julia"))


def validate(jobset: dict[str, Any]) -> None:
    """Raises a ValidationError unless it is a JobSet of well-formed Jobs; unknown fields are errors."""
    jsonschema.validate(jobset, JOBSET_SCHEMA)
    for replicated in jobset["spec"]["replicatedJobs"]:
        name = f"{jobset['metadata']['name']}-{replicated['name']}-0"
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": replicated["template"]["spec"],
        }
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_the_manifest_is_a_jobset():
    validate(manifest())


@pytest.mark.parametrize(
    "damage",
    [
        lambda spec: spec.update(maxRestarts=3),
        lambda spec: spec["failurePolicy"].update(restartStrategy="Again"),
        lambda spec: spec["replicatedJobs"][0].update(parallelism=4),
        lambda spec: spec["replicatedJobs"][0]["template"]["spec"].update(backoffLimit="none"),
        lambda spec: pod(spec).update(nodeSelecter={}),
        lambda spec: pod(spec)["containers"][0].update(image=3),
    ],
)
def test_the_schemas_see_mistakes(damage):
    jobset = copy.deepcopy(manifest())
    damage(jobset["spec"])
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        validate(jobset)


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_the_jobs_pods_are_the_hosts_of_the_slice():
    spec = manifest()["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    chips = math.prod(map(int, pod(spec)["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")))
    (container,) = pod(spec)["containers"]
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    assert job["parallelism"] == job["completions"] == chips // limits["google.com/tpu"]
    assert (SCRIPTS / Path(container["command"][0]).name).exists()
    overrides = [word for word in container["command"] if word.startswith("--config.")]
    assert overrides
    for word in overrides:
        key = word.partition("=")[0].rpartition(".")[2]
        assert re.search(rf'"{key}":', (REPOSITORY / "configs/base.py").read_text()), key


def hadolint(file: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", str(file)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_dockerfile(tmp_path):
    assert hadolint(REPOSITORY / "Dockerfile") == ""
    bad = tmp_path / "Dockerfile"
    bad.write_text(
        (REPOSITORY / "Dockerfile").read_text().replace("bookworm", "bookworm\nRUN cd /tmp && sudo apt install x")
    )
    assert "DL3004" in hadolint(bad)


def test_the_image_gets_all_that_the_dockerfile_copies():
    """.dockerignore leaves everything out that it does not name."""
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in (REPOSITORY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= {word.split("/")[0] for word in line.split()[1:-1]}
            assert all((REPOSITORY / word).exists() for word in line.split()[1:-1]), line
    assert copied == allowed


@pytest.mark.parametrize(
    ("story", "finished", "expected"),
    [
        ("exit 0", 0, 0),
        ("exit 0", 3, 3),
        ("exit 7", 0, 7),
        ("trap 'exit 0' TERM; touch trapped; sleep 30 & wait", 3, 3),
    ],
)
def test_a_pod_completes_only_with_its_run(tmp_path, story, finished, expected):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/bash\necho "$*" >>{tmp_path}/calls\necho "$JAX_COMPILATION_CACHE_DIR" >{tmp_path}/cache\n'
        f'[[ "$2" == azr_jax.status ]] && exit {finished}\n{story}\n'
    )
    python.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    del environment["JAX_COMPILATION_CACHE_DIR"]
    command = [SCRIPTS / "pod.sh", "gs://b/run", "--config=c"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        if "TERM" in story:
            while not (tmp_path / "trapped").exists():
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == expected
    assert (tmp_path / "cache").read_text() == "gs://b/compiled\n"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "-m azr_jax.main --workdir=gs://b/run --config=c"
    assert calls[1:] == (["-m azr_jax.status --finished gs://b/run"] if story != "exit 7" else [])


@pytest.mark.parametrize(
    ("workdir", "given", "compiled"),
    [
        ("gs://b/run", None, "gs://b/compiled"),
        ("gs://b/runs/a", None, "gs://b/runs/compiled"),
        ("gs://b", None, "gs://b/compiled"),
        ("/data/run", None, "/data/compiled"),
        ("/data/run/", None, "/data/compiled"),
        ("run", None, "./compiled"),
        ("gs://b/run", "/mine", "/mine"),
        ("gs://b/run", "", ""),
    ],
)
def test_a_pod_keeps_compiled_programs_beside_the_run_unless_told_otherwise(tmp_path, workdir, given, compiled):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\necho "$JAX_COMPILATION_CACHE_DIR" >{tmp_path}/cache\n')
    python.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "JAX_COMPILATION_CACHE_DIR": given or ""}
    if given is None:
        del environment["JAX_COMPILATION_CACHE_DIR"]
    subprocess.run([SCRIPTS / "pod.sh", workdir], env=environment, cwd=tmp_path, check=True, timeout=20)
    assert (tmp_path / "cache").read_text() == f"{compiled}\n"
