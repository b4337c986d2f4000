"""The command and commit that a start leaves in the workdir."""

import json
import re
import subprocess

from etils import epath

from azr_jax.workdir import start


def test_a_start_writes_command_and_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["main.py", "--workdir=a b", "--config=configs/tiny.py"])
    start.write(epath.Path(tmp_path))
    fields = json.loads((tmp_path / "start.json").read_text())
    assert fields["command"].endswith("'--workdir=a b' --config=configs/tiny.py") and fields["started"]
    assert re.fullmatch(r"[0-9a-f]{12}(, with changes)?|version .+", fields["commit"])


def test_an_installed_package_has_a_version_and_no_commit(monkeypatch):
    def refused(*_, **__):
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", refused)
    assert start.commit().startswith("version ")
