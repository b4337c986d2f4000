"""Another date, for the second process of a determinism check: a shared library that shifts the clock, assembled here.

Linux can't give one process another CLOCK_REALTIME, and interpreters read it without a system call. But they all call
the C library's clock_gettime, gettimeofday, time or timespec_get: this library, loaded before it (LD_PRELOAD), defines
these four, which ask the kernel and add the shift. Not covered: a program that makes the system call itself, file
times, a statically linked interpreter.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import struct
import tempfile
from pathlib import Path

from executors import compiled

# 3 years, 2 months and a half, 9 hours, 46 minutes, 47 seconds: on any day, year, month, day, weekday, hour, minute and
# second all change.
SHIFT_S = 1173 * 86400 + 9 * 3600 + 46 * 60 + 47

# Offsets of the functions, and of `syscall`'s address and the shift, which the code reads relative to itself.
_CODE, _DATA, _MEMORY_PAGE = 0x200, 0x300, 0x10000
# Relocation of a symbol's address, number of the machine in ELF, functions.
# clock_gettime adds to CLOCK_REALTIME, CLOCK_REALTIME_COARSE and CLOCK_TAI (0, 5, 11); time and timespec_get call it.
_MACHINES = {
    "x86_64": (
        6,
        62,
        {
            "clock_gettime": "57 56 4883ec08 4889f2 89fe bfe4000000 31c0 ff15e8000100 4883c408 5e 5f 85c0 7518 85ff"
            "740a 83ff05 7405 83ff0b 750a 488b15d1000100 480116 c3",
            "gettimeofday": "57 4889f2 4889fe bf60000000 31c0 ff15b1000100 5f 85c0 750f 4885ff 740a 488b15a8000100"
            "480117 c3",
            "time": "4883ec18 48897c2410 4889e6 31ff e889ffffff 488b0424 488b7c2410 4883c418 4885ff 7403 488907 c3",
            "timespec_get": "83fe01 751c 4883ec08 4889fe 31ff e860ffffff 4883c408 85c0 7506 b801000000 c3 31c0 c3",
        },
    ),
    "aarch64": (
        1025,
        183,
        {
            "clock_gettime": "fd7bbea9 e00701a9 e20301aa 017c4093 200e80d2 70070858 00023fd6 e31341a9 fd7bc2a8 40010035"
            "a3000034 7f140071 60000054 7f2c0071 a1000054 850040f9 46060858 a500068b 850000f9 c0035fd6",
            "gettimeofday": "fd7bbea9 e00b00f9 e20301aa e10300aa 201580d2 f0040858 00023fd6 e40b40f9 fd7bc2a8"
            "c0000035 a40000b4 850040f9 46040858 a500068b 850000f9 c0035fd6",
            "time": "fd7bbda9 e01700f9 e1430091 00008052 d8ffff97 e00b40f9 e41740f9 fd7bc3a8 440000b4"
            "800000f9 c0035fd6",
            "timespec_get": "3f040071 21010054 fd7bbfa9 e10300aa 00008052 ccffff97 fd7bc1a8 60000035 20008052 c0035fd6"
            "00008052 c0035fd6",
        },
    ),
}  # fmt: skip


def assemble(machine: str, shift_s: int = SHIFT_S) -> bytes:
    """The library for `machine` ("x86_64" or "aarch64"), as ELF."""
    relocation, number, functions = _MACHINES[machine]
    names, code, symbols = b"\0syscall\0", b"", [bytes(24), struct.pack("<IBBHQQ", 1, 0x12, 0, 0, 0, 0)]
    for name, text in functions.items():
        body = bytes.fromhex(text)
        # Global functions, in a section of any number: there are no sections.
        symbols.append(struct.pack("<IBBHQQ", len(names), 0x12, 0, 1, _CODE + len(code), len(body)))
        names, code = names + name.encode() + b"\0", code + body
    assert len(code) <= _DATA - _CODE
    count = len(symbols)
    data = _MEMORY_PAGE + _DATA
    # In the writable part: syscall's address, the shift, then what the loader reads.
    parts = {
        0: struct.pack("<Qq", 0, shift_s),
        5: names.ljust(-len(names) % 8 + len(names), b"\0"),  # DT_STRTAB
        6: b"".join(symbols),  # DT_SYMTAB
        4: struct.pack(f"<{count + 3}I", 1, count, 1, *range(1, count), 0)[: 4 * (count + 3)],  # DT_HASH
        7: struct.pack("<QQq", data, 1 << 32 | relocation, 0),  # DT_RELA
    }
    places, body = {}, b""
    for tag, part in parts.items():
        body += bytes(-len(body) % 8)
        places[tag] = data + len(body)
        body += part
    body += bytes(-len(body) % 8)
    # DT_STRSZ, DT_SYMENT, DT_RELASZ, DT_RELAENT
    entries = {tag: places[tag] for tag in (4, 5, 6, 7)} | {10: len(names), 11: 24, 8: 24, 9: 24, 0: 0}
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries.items())
    at, size = _DATA + len(body), len(body) + len(dynamic)

    def segment(kind: int, access: int, offset: int, address: int, length: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, access, offset, address, address, length, length, _MEMORY_PAGE)

    segments = (
        segment(1, 5, 0, 0, _CODE + len(code)),
        segment(1, 6, _DATA, data, size),
        segment(2, 6, at, _MEMORY_PAGE + at, len(dynamic)),
        # A stack that is not executable.
        segment(0x6474E551, 6, 0, 0, 0),
    )
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, number, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return (header + b"".join(segments)).ljust(_CODE, b"\0") + code.ljust(_DATA - _CODE, b"\0") + body + dynamic


@functools.cache
def shared_object() -> Path:
    """The library's file, made if missing: readable by all users, named by the digest of its content."""
    content = assemble(platform.machine())
    name = f"clock-{hashlib.sha256(content).hexdigest()[:12]}.so"
    try:
        return _write(compiled.folder("clock"), name, content)
    except OSError:
        # The home can't be written. Never use a folder that another user owns.
        folder = Path(tempfile.gettempdir(), f"azr_clock_{os.getuid()}")
        folder.mkdir(mode=0o755, exist_ok=True)
        if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
            raise
        return _write(folder, name, content)


def _write(folder: Path, name: str, content: bytes) -> Path:
    target = folder / name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    return target
