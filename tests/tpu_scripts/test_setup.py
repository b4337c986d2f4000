"""The set-up scripts on machines that are not this one: stubbed apt, dpkg and Python on a PATH of their own."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_script

TOOLS = "bash awk basename cat cp cut dirname env find grep head id ln mkdir mktemp mv rm sed sha256sum sort tail touch"
# Installs a package by making its command; of several with an unknown one it installs none, as apt does.
APT = """#!/bin/bash
echo "$*" >>"$CALLS"
here="$(dirname "$0")"
case "$*" in
  *indextargets*) echo "main bookworm http://archive"; exit ;;
  *update*) exit ;;
  *download-only*)
    archives="$(sed -E 's/.*Dir::Cache::archives=([^ ]*).*/\\1/' <<<"$*")"
    touch "$archives/julia_1.5.3_amd64.deb" "$archives/libjulia1_1.5.3_amd64.deb"
    exit ;;
esac
declare -A commands=([bubblewrap]=bwrap [racket]=racket [nodejs]=node [gcc]=cc)
for word in "$@"; do [[ $word != lua5.4 ]] || { echo "E: Unable to locate package $word" >&2; exit 100; }; done
for word in "$@"; do
  [[ -z ${commands[$word]:-} ]] || ln -sf "$here/bash" "$here/${commands[$word]}"
done
"""


class Machine:
    """A checkout with the scripts and a PATH that has only `TOOLS` and what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        self.bin.mkdir()
        for tool in TOOLS.split():
            if place := shutil.which(tool):
                (self.bin / tool).symlink_to(place)
        (root / "checkout" / "tpu_scripts").mkdir(parents=True)
        for name in ("install_interpreters.sh", "setup_python.sh"):
            shutil.copy(REPOSITORY / "tpu_scripts" / name, root / "checkout" / "tpu_scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            (root / "checkout" / name).write_text("")
        self.program("sudo", '#!/bin/bash\nshift\n[[ $1 != -- ]] || shift\nexec "$@"\n')
        self.program("apt-get", APT)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, script: str, *words: str) -> tuple[int, str]:
        """(status, output) of a script; HOME and everything it makes are within the root."""
        environment = {"PATH": str(self.bin), "HOME": str(self.root), "CALLS": str(self.root / "calls")}
        environment |= {"TMPDIR": str(self.root)}
        script_file = self.root / "checkout" / "tpu_scripts" / script
        done = run_script([str(self.bin / "bash"), str(script_file), *words], environment)
        return done.returncode, done.stdout


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_package_that_this_release_lacks_keeps_no_other_out(machine):
    status, output = machine.run("install_interpreters.sh", "racket", "lua", "javascript")
    assert status == 1
    assert all((machine.bin / command).exists() for command in ("bwrap", "racket", "node", "cc")), output
    assert "Unable to locate package lua5.4" in output
    assert output.splitlines()[-1] == "  lua (command lua5.4; see https://lua.org)"


def test_interpreters_are_named_to_who_asks_for_another(machine):
    status, output = machine.run("install_interpreters.sh", "racket", "rubby")
    assert status == 2 and "unknown language 'rubby': use some of julia bubblewrap racket " in output
    status, output = machine.run("install_interpreters.sh", "--help")
    assert status == 0 and "[perl|php|ruby|scheme|fortran]..." in output
    assert not (machine.root / "calls").exists()


def test_a_julia_that_is_half_unpacked_is_none(machine):
    if not os.access("/usr/share/keyrings/debian-archive-keyring.gpg", os.R_OK):
        pytest.skip("no Debian: Julia is never unpacked here")
    (machine.bin / "bwrap").symlink_to(machine.bin / "bash")
    full = '[[ $2 != */libjulia* ]] || { echo "No space left on device" >&2; exit 2; }'
    machine.program("dpkg-deb", f'#!/bin/bash\n{full}\nmkdir -p "$3/usr/bin"; touch "$3/usr/bin/julia"\n')
    status, output = machine.run("install_interpreters.sh", "julia")
    assert status == 1 and "No space left on device" in output and "julia (install it with juliaup" in output
    assert list((machine.root / "checkout").glob(".setup/*")) == []


def test_the_venv_package_is_that_of_the_python_in_use(machine):
    python = """#!/bin/bash
case "$*" in
  *ensurepip*) exit 1 ;;
  *print*) echo python3.11-venv ;;
  "-m venv "*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
esac
"""
    machine.program("python3.11", python)
    status, output = machine.run("setup_python.sh")
    assert status == 0, output
    assert "setup: installing python3.11-venv" in output
    assert "install -y -qq --no-install-recommends python3.11-venv" in (machine.root / "calls").read_text()
    assert machine.run("setup_python.sh") == (0, "")
    # The interpreter of the environment is gone, as after an upgrade of the system.
    (machine.root / "checkout" / ".venv" / "bin" / "python").unlink()
    assert "installing Python packages" in machine.run("setup_python.sh")[1]


def test_a_julia_of_the_users_choice(tmp_path):
    for version in ("1.10.4", "1.11.1"):
        program = tmp_path / f"julia-{version}" / "bin" / "julia"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
        with tarfile.open(tmp_path / f"{version}.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / f"julia-{version}", f"julia-{version}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sudo").write_text('#!/bin/bash\nshift 2\nexec "$@"\n')
    (tmp_path / "bin" / "sudo").chmod(0o755)
    link = tmp_path / "bin" / "julia"
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "AZR_JAX_JULIA_LINK": str(link)}
    for version in ("1.10.4", "1.11.1", "1.11.1"):
        archive = tmp_path / f"{version}.tar.gz"
        script = str(REPOSITORY / "tpu_scripts" / "install_julia.sh")
        done = run_script([script, archive.as_uri(), str(tmp_path / "opt")], environment)
        assert done.returncode == 0, done.stdout
        assert run_script([str(link)], environment).stdout == f"{version}\n"
        archive.unlink(missing_ok=True)  # the third time nothing is fetched
