"""What to do if a machine refuses namespaces: the exact commands, by what the machine reports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MOST = Path("/proc/sys/user/max_user_namespaces")
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_PROFILE = "abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }"


def _setting(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _steps() -> Iterator[str]:
    if shutil.which("bwrap") is None:
        yield "Install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf install bubblewrap)"
    if _setting(_CLONE) == "0":
        yield "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting(_MOST) == "0":
        yield "sudo sysctl -w user.max_user_namespaces=10000"
    if _setting(_APPARMOR) == "1":
        yield (
            "AppArmor (Ubuntu 23.10 and later) lets only programs with a profile make namespaces. Give bubblewrap one: "
            f"echo '{_PROFILE}' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap; or "
            "lift the restriction: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        yield (
            "Start the container with: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined"
        )


def namespaces() -> str:
    """How to make namespaces work here, as one text; if the machine reports nothing, where to ask."""
    steps = list(_steps())
    if not steps:
        steps = [
            "Ask whoever runs this machine to allow user namespaces (a container, a sandbox or a policy forbids them)"
        ]
    return ". ".join(steps)
