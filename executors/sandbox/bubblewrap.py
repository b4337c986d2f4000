"""The arguments of bubblewrap for the tier `namespaces`: what a contained process sees, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from executors.sandbox.launch import (
    FILTER_PATH,
    HARNESS_DIR,
    INSIDE,
    INSIDE_DIR,
    PROGRAM_DIR,
    Launch,
    Mode,
    command,
    environment,
)

_DEVICES = ("null", "zero", "full", "random", "urandom")
# What programs in /usr need from /etc: no names, no keys, no hosts.
_ETC = ("/etc/ld.so.cache", "/etc/alternatives")


def argv(launch: Launch, filter_fd: int, file_fd: int, info_fd: int) -> list[str]:
    """The command that starts `launch`: seccomp program, file inside and bubblewrap's report on the descriptors.

    Raises FileNotFoundError if bubblewrap is not installed.
    """
    path = shutil.which("bwrap")
    if path is None:
        raise FileNotFoundError("bwrap is not installed: install the package bubblewrap")
    folder = PROGRAM_DIR if launch.mode is Mode.PROGRAM else HARNESS_DIR
    arguments = [path, *_namespace_arguments(launch.mode is Mode.SERVE), *_mount_arguments(launch, file_fd)]
    # A setuid bubblewrap loses its LD_* variables.
    for name, value in environment(launch, FILTER_PATH, INSIDE_DIR).items():
        if name.startswith("LD_"):
            arguments += ["--setenv", name, value]
    return [
        *arguments,
        "--seccomp",
        str(filter_fd),
        "--info-fd",
        str(info_fd),
        "--",
        *command(launch, folder, INSIDE_DIR),
    ]


def _namespace_arguments(serve: bool) -> list[str]:
    arguments = ["--unshare-user", "--unshare-all", "--hostname", "sandbox", "--uid", "1000", "--gid", "1000"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # A serving harness makes PID namespaces. A single process is PID 1 itself, as a served child is.
    return [*arguments, *(("--cap-add", "CAP_SYS_ADMIN") if serve else ("--as-pid-1",))]


def _mount_arguments(launch: Launch, file_fd: int) -> list[str]:
    arguments = _system_arguments(launch.interpreter.root)
    arguments += ["--proc", "/proc", "--dir", "/dev"]
    if launch.mode is Mode.PROGRAM:
        # It may open files for writing, and if root starts it, its user owns the kernel's settings (/proc/sys).
        arguments += ["--remount-ro", "/proc"]
    for device in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        arguments += ["--symlink", f"/proc/self/fd{target}", f"/dev/{name}"]
    # Before the interpreter's folders, which may be below /tmp.
    if launch.mode is Mode.PROGRAM:
        arguments += ["--size", str(launch.folder_bytes), "--tmpfs", PROGRAM_DIR]
    else:
        arguments += ["--dir", PROGRAM_DIR]
    for path in launch.read_only:
        arguments += ["--ro-bind", str(path), str(path)]
    if launch.mode is Mode.PROGRAM:
        arguments += ["--file", str(file_fd), f"{PROGRAM_DIR}/{launch.source_name}", "--chdir", PROGRAM_DIR]
    else:
        assert launch.harness_dir is not None
        arguments += ["--ro-bind", str(launch.harness_dir), HARNESS_DIR, "--ro-bind", str(INSIDE), INSIDE_DIR]
        arguments += ["--ro-bind-data", str(file_fd), FILTER_PATH, "--chdir", "/"]
    return [*arguments, "--remount-ro", "/"]


def _system_arguments(root: Path | None) -> list[str]:
    """Mounts of the system's folders: the machine's own, or those of a private installation."""
    if root is None:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for path in _ETC:
            arguments += ["--ro-bind-try", path, path]
        folders = [Path(name) for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")]
    else:
        arguments = []
        folders = [path for path in sorted(root.iterdir()) if path.name not in ("proc", "dev", "tmp", "azr", "sys")]
    for path in folders:
        inside = f"/{path.name}"
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), inside]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), inside]
    return arguments
