"""What is said where namespaces are refused: the commands that fit what the machine says of itself."""

from __future__ import annotations

import pytest

from executors.sandbox import advice

CASES = {
    "nothing": ({}, "allow user namespaces"),
    "AppArmor": ({"_APPARMOR": "1\n"}, "sudo apparmor_parser -r /etc/apparmor.d/bwrap"),
    "Debian's switch": ({"_CLONE": "0\n"}, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    "a bound of none": ({"_MOST": "0\n"}, "sudo sysctl -w user.max_user_namespaces=10000"),
    "a container": ({"_CONTAINER_MARKS": ""}, "docker run --security-opt seccomp=unconfined"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_advice_fits_the_machine(case, tmp_path, monkeypatch):
    settings, wanted = CASES[case]
    monkeypatch.setattr(advice.shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("_APPARMOR", "_CLONE", "_MOST"):
        file = tmp_path / name
        if name in settings:
            file.write_text(settings[name])
        monkeypatch.setattr(advice, name, file)
    marks = (tmp_path,) if "_CONTAINER_MARKS" in settings else ()
    monkeypatch.setattr(advice, "_CONTAINER_MARKS", marks)
    text = advice.namespaces()
    assert wanted in text and "Install bubblewrap" not in text


def test_bubblewrap_is_to_be_installed_only_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Install bubblewrap" in advice.namespaces()
