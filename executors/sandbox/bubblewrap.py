"""The arguments of bubblewrap for the tier `namespaces`: what a contained process sees, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
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


def argv(launch: Launch, filter_fd: int, file_fds: Sequence[int], info_fd: int, fork_fd: int) -> list[str]:
    """The command that starts `launch`: seccomp program, files inside and bubblewrap's report on the descriptors.

    The files are the program's, the child filter, or both (FORK). fork_fd: the socket of a FORK.

    Raises FileNotFoundError if bubblewrap is not installed.
    """
    path = shutil.which("bwrap")
    if path is None:
        raise FileNotFoundError("bwrap is not installed: install the package bubblewrap")
    folder = PROGRAM_DIR if launch.runs_file else HARNESS_DIR
    arguments = [path, *_namespace_arguments(launch.mode), *_mount_arguments(launch, file_fds)]
    # A setuid bubblewrap loses its LD_* variables.
    for name, value in environment(launch, FILTER_PATH, INSIDE_DIR).items():
        if name.startswith("LD_"):
            arguments += ["--setenv", name, value]
    if launch.library is not None and launch.forking is not None:
        settings = f"{fork_fd} {launch.forking.point} {PROGRAM_DIR}/{launch.source_name}"
        arguments += ["--setenv", "LD_PRELOAD", str(launch.library), "--setenv", "AZR_FORK_SERVER", settings]
    return [
        *arguments,
        "--seccomp",
        str(filter_fd),
        "--info-fd",
        str(info_fd),
        "--",
        *command(launch, folder, INSIDE_DIR),
    ]


def _namespace_arguments(mode: Mode) -> list[str]:
    arguments = ["--unshare-user", "--unshare-all", "--hostname", "sandbox", "--uid", "1000", "--gid", "1000"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # What serves makes PID namespaces, and a fork server time namespaces too.
    if mode in (Mode.SERVE, Mode.FORK):
        arguments += ["--cap-add", "CAP_SYS_ADMIN"]
    if mode is Mode.FORK:
        arguments += ["--cap-add", "CAP_SYS_TIME"]
    # A single process is PID 1 itself, as a served child is; an interpreter may ask for its number before it forks.
    return arguments if mode is Mode.SERVE else [*arguments, "--as-pid-1"]


def _mount_arguments(launch: Launch, file_fds: Sequence[int]) -> list[str]:
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
    if launch.runs_file:
        arguments += ["--size", str(launch.folder_bytes), "--tmpfs", PROGRAM_DIR]
    else:
        arguments += ["--dir", PROGRAM_DIR]
    for path in launch.read_only:
        arguments += ["--ro-bind", str(path), str(path)]
    if launch.runs_file:
        arguments += ["--file", str(file_fds[0]), f"{PROGRAM_DIR}/{launch.source_name}", "--chdir", PROGRAM_DIR]
    else:
        assert launch.harness_dir is not None
        arguments += ["--ro-bind", str(launch.harness_dir), HARNESS_DIR, "--ro-bind", str(INSIDE), INSIDE_DIR]
        arguments += ["--chdir", "/"]
    if launch.mode is not Mode.PROGRAM:
        arguments += ["--ro-bind-data", str(file_fds[-1]), FILTER_PATH]
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
