"""Devices: their platform, the share of memory that jax takes, XLA's options, and the cache of compiled programs.

Nothing here imports jax before it is called, so that commands parse their flags first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform as host
from pathlib import Path
from typing import TYPE_CHECKING

from executors.compiled import user_cache

if TYPE_CHECKING:
    from jax.sharding import Mesh

_CPUINFO = Path("/proc/cpuinfo")
GPU_SHARE = 0.95  # of a GPU's memory that jax takes
LARGE_MODEL = 300_000_000  # parameters from which a step on a CPU takes hours
_TPU_FILES = ("accel[0-9]*", "vfio/[0-9]*")
# What an accelerator is called, its device files (dxg: of Windows' Linux), and what to install for it.
_DEVICE_FILES = (
    ("an NVIDIA GPU", ("nvidia[0-9]*", "dxg"), "pip install '.[cuda13]'"),
    ("a TPU", _TPU_FILES, "pip install '.[tpu]'"),
    ("an AMD GPU", ("kfd",), "jax's packages for ROCm"),
)


def prepare() -> None:
    """Sets jax's environment for a command: call it before jax is imported. What the user has set stays.

    - jax takes GPU_SHARE of a GPU's memory instead of 75%: the update of a 3B model needs nine tenths of 80 GB.
    - Compiled programs are kept in the user's cache, so that the next start finds them.
    - Without an accelerator jax does not load libtpu, which would print a page of errors.
    """
    if "XLA_CLIENT_MEM_FRACTION" not in os.environ:  # the newer name, and jax refuses both together
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(GPU_SHARE))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled_programs()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if not has_accelerator() and importlib.util.find_spec("libtpu") is not None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def compiled_programs() -> Path:
    """The folder of compiled programs, one for each kind of processor: a CPU may not run the programs of another."""
    try:
        kind = "".join(line for line in _CPUINFO.read_text().splitlines() if line.startswith(("model name", "flags")))
    except OSError:
        kind = host.processor()
    return user_cache() / "compiled" / hashlib.sha256(kind.encode()).hexdigest()[:12]


def has_accelerator(devices: Path = Path("/dev")) -> bool:
    """Whether the machine has device files of a TPU, an NVIDIA or an AMD GPU."""
    return has_tpu(devices) or any((devices / name).exists() for name in ("nvidia0", "nvidiactl", "dxg", "kfd"))


def has_tpu(devices: Path = Path("/dev")) -> bool:
    """Whether the machine has device files of TPU chips."""
    return any(any(devices.glob(pattern)) for pattern in _TPU_FILES)


def platform(mesh: Mesh | None = None) -> str:
    """The platform of the mesh's devices or, without mesh, the default device: "cpu", "tpu" or "gpu" (jax's "cuda")."""
    import jax

    name = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
    return "gpu" if name == "cuda" else name


def half_of_memory() -> int:
    """Half of the machine's memory, bytes: what a program may count on where nothing says what is free."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def check_accelerator(parameters: int) -> None:
    """Refuses to run a large model on the CPU of a machine with an accelerator that jax does not see.

    `JAX_PLATFORMS=cpu` in the environment allows the CPU.

    Raises:
      ValueError: naming the accelerator's device file and what to install.
    """
    if parameters < LARGE_MODEL or platform() != "cpu" or "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        return
    for kind, patterns, support in _DEVICE_FILES:
        files = sorted(str(file) for pattern in patterns for file in Path("/dev").glob(pattern))
        if files:
            raise ValueError(
                f"model.path: {parameters / 1e9:.1f} billion parameters would run on the CPU, although this machine has"
                f" {kind} ({files[0]}): jax does not see it. Install its support ({support}), check its"
                " driver, or set JAX_PLATFORMS=cpu if the CPU is meant"
            )


def compiler_options(mesh: Mesh | None) -> dict[str, str | bool | int | float] | None:
    """`compiler_options` of jax.jit for the large programs on the mesh's devices; None for XLA's defaults.

    On GPUs XLA's own rematerialization pass is off. It recomputes what it estimates not to fit into 80% of the memory,
    and counts donated arguments twice: with 59 GiB of caches it recomputed in every decode step, although memory was
    left. `model.remat` chooses what is recomputed.
    """
    return {"xla_disable_hlo_passes": "rematerialization"} if platform(mesh) == "gpu" else None
