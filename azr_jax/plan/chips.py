"""TPUs and GPUs: sizes and speeds of a chip, and the slices that can be planned. No jax: read before its import."""

from __future__ import annotations

import dataclasses
import importlib.util
import os

from azr_jax.devices import GPU_SHARE


@dataclasses.dataclass(frozen=True, slots=True)
class Chip:
    """One device (a chip, or half of a tpu7x), by Google's pages on each generation and NVIDIA's data sheets.

    Attributes:
      hbm_gib: memory that the compiler lets programs use, by its message if a program is too large; of a GPU, the
        memory that `devices.prepare` lets jax take.
      tflops: peak of bfloat16 matrix products, 10^12 per second.
      hbm_gbps: peak memory bandwidth, 10^9 bytes per second.
      ici_gbps: bandwidth from one device to its neighbours, 10^9 bytes per second (half of "bidirectional").
      devices: jax devices of one chip.
      shapes: slices of this generation that this command knows; of GPUs, their number in one machine.
      config_name: for the topology description.
      target: XLA's GpuTargetConfigProto of a GPU as text, for the compiler.
    """

    hbm_gib: float
    tflops: float
    hbm_gbps: float
    ici_gbps: float
    devices: int
    shapes: tuple[str, ...]
    config_name: str = ""
    target: str = ""

    @property
    def platform(self) -> str:
        """Its name in jax.experimental.topologies."""
        return "cuda" if self.target else "tpu"


# Limits of each compute capability from the CUDA C++ Programming Guide ("Technical Specifications per Compute
# Capability"). Without the versions the compiler assumes a driver that is too old for its CUDA graphs.
_GPU = """
gpu_device_info {{
  cuda_compute_capability {{ {capability} }}
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: {threads}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {block_memory}
  shared_memory_per_core: {core_memory}
  core_count: {cores}
  fpus_per_core: 128
  clock_rate_ghz: {clock_ghz}
  l2_cache_size: {l2}
  memory_bandwidth: {bandwidth}
  device_memory_size: {memory}
  runtime_version: "12.9.0"
  driver_version: "12.9.0"
  compile_time_toolkit_version: "12.9.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 }}
device_description_str: "{name}"
"""
# The H200 has the H100's processor with more memory.
_HOPPER = {"capability": "major: 9", "threads": 2048, "block_memory": 232448, "core_memory": 233472}
_HOPPER |= {"cores": 132, "clock_ghz": 1.98, "l2": 50 << 20}
_ADA = {"capability": "major: 8 minor: 9", "threads": 1536, "block_memory": 101376, "core_memory": 102400}
_H100_BYTES, _H200_BYTES = 84_929_347_584, 150_754_820_096
# What the driver leaves of 24 and of 16 GB.
_4090_BYTES, _L4_BYTES, _4090_LAPTOP_BYTES = int(23.6 * 2**30), int(22.0 * 2**30), int(15.7 * 2**30)
_NVLINK_GBPS, _PCIE_GBPS = 450.0, 32.0


def _gpu(name: str, memory: int, tflops: float, hbm_gbps: float, link_gbps: float, **processor: object) -> Chip:
    target = _GPU.format(name=name, memory=memory, bandwidth=int(hbm_gbps * 1e9), **processor)
    shapes = ("1", "2", "4", "8") if link_gbps else ("1",)
    return Chip(GPU_SHARE * memory / 2**30, tflops, hbm_gbps, link_gbps, 1, shapes, target=target)


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBE = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4")

CHIPS: dict[str, Chip] = {
    "v4": Chip(30.75, 275.0, 1200.0, 150.0, 1, _CUBE, "megacore"),
    "v5e": Chip(15.75, 197.0, 819.0, 200.0, 1, _FLAT),
    "v5p": Chip(95.74, 459.0, 2765.0, 300.0, 1, _CUBE),
    "v6e": Chip(31.25, 918.0, 1638.0, 400.0, 1, _FLAT),
    "tpu7x": Chip(94.75, 1153.5, 3690.0, 300.0, 2, _CUBE),
    "h100": _gpu("NVIDIA H100 80GB HBM3", _H100_BYTES, 989.0, 3350.0, _NVLINK_GBPS, **_HOPPER),
    "h200": _gpu("NVIDIA H200", _H200_BYTES, 989.0, 4800.0, _NVLINK_GBPS, **_HOPPER),
    # 24 GB cards of a desktop and of a server, and a 16 GB card of a laptop (150 W).
    "rtx4090": _gpu(
        "NVIDIA GeForce RTX 4090",
        _4090_BYTES,
        165.0,
        1008.0,
        _PCIE_GBPS,
        **_ADA,
        cores=128,
        clock_ghz=2.52,
        l2=72 << 20,
    ),
    "l4": _gpu("NVIDIA L4", _L4_BYTES, 121.0, 300.0, _PCIE_GBPS, **_ADA, cores=58, clock_ghz=2.04, l2=48 << 20),
    "rtx4090laptop": _gpu(
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        _4090_LAPTOP_BYTES,
        79.0,
        576.0,
        0.0,
        **_ADA,
        cores=76,
        clock_ghz=2.04,
        l2=64 << 20,
    ),
}


def parse(topology: str) -> tuple[str, Chip, str]:
    """(generation, chip, shape) of a name such as "v5e:4x4" or "h100:1".

    Raises:
      ValueError: an unknown name; the message lists the known ones.
    """
    generation, _, shape = topology.partition(":")
    if generation not in CHIPS or shape not in CHIPS[generation].shapes:
        known = "; ".join(f"{name}:{{{','.join(chip.shapes)}}}" for name, chip in CHIPS.items())
        raise ValueError(f"--topology={topology!r} is unknown; use a generation and a shape in chips: {known}")
    return generation, CHIPS[generation], shape


def has_cuda_compiler() -> bool:
    """Whether a CUDA plugin of jax is installed, which has XLA's compiler for GPUs."""
    return any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


def configure(chip: Chip) -> None:
    """Makes this process compile for such chips without a device; call it before jax is imported.

    Raises:
      RuntimeError: the chip's compiler is not installed, with the command that installs it.
    """
    # Programs compiled without their device can't be read back from jax's cache.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if chip.platform == "cuda":
        if not has_cuda_compiler():
            raise RuntimeError(
                "azr_jax.plan needs jax's CUDA plugin to compile for a GPU, and no GPU: install it with `pip install -c"
                " constraints.txt '.[cuda13]'`"
            )
        os.environ["JAX_PLATFORMS"] = "cpu"
        return
    if importlib.util.find_spec("libtpu") is None:
        raise RuntimeError(
            "azr_jax.plan needs the TPU compiler, which is in the package libtpu (Linux on x86-64): install it with"
            " `pip install -c constraints.txt libtpu`, or all of `.[tpu]`"
        )
    # Keeps libtpu from looking for a TPU, in every generation. Otherwise two processes would wait for one lock.
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-16",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_LOG_DIR": "disabled",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
