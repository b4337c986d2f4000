"""The other clock of a determinism check: nothing of a date there is what it is here, and no other clock differs."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time

import pytest

from executors.sandbox import clock

# What each function of the C library gives for each clock: its result, errno and seconds.
CALLS = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
def said(name, *arguments):
    place = (ctypes.c_long * 2)()
    ctypes.set_errno(0)
    function = getattr(libc, name)
    function.restype = ctypes.c_long if name == "time" else ctypes.c_int
    order = (place, *arguments) if name != "clock_gettime" else (*arguments, place)
    return function(*order), ctypes.get_errno(), place[0]
rows = {f"clock_gettime {number}": said("clock_gettime", number) for number in (0, 1, 3, 5, 7, 11, 12, 99)}
rows |= {"gettimeofday": said("gettimeofday", None), "time": said("time"), "timespec_get": said("timespec_get", 1)}
rows["no base"] = said("timespec_get", 77)
print(json.dumps([rows, libc.time(None) > 0, libc.gettimeofday(None, None)]))
"""
SHIFTED = {"clock_gettime 0", "clock_gettime 5", "clock_gettime 11", "gettimeofday", "time", "timespec_get"}


def called(preload):
    environment = os.environ | ({"LD_PRELOAD": str(preload)} if preload else {})
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_every_function_of_the_date_is_shifted_and_nothing_else():
    (here, *ends), (there, *other_ends) = called(None), called(clock.shared_object())
    assert ends == other_ends == [True, 0]
    for name, (result, number, seconds) in there.items():
        own_result, own_number, own_seconds = here[name]
        shift_s = clock.SHIFT_S if name in SHIFTED else 0
        assert abs(seconds - own_seconds - shift_s) < 20, name
        assert number == own_number
        assert result == own_result or name == "time"
    assert there["clock_gettime 99"][:2] == [-1, 22]
    assert abs(there["time"][0] - time.time() - clock.SHIFT_S) < 20


@pytest.mark.parametrize("zone_s", [0, 86399], ids=["UTC", "the other time zone"])
def test_no_part_of_any_date_stays(zone_s):
    start = datetime.datetime(2024, 1, 1, 13, 14, 15)
    for days in range(30 * 366):
        here = start + datetime.timedelta(days=days)
        there = here + datetime.timedelta(seconds=clock.SHIFT_S + zone_s)
        parts = [
            zip(moment.timetuple()[:7], ("year", "month", "day", "hour", "minute", "second", "weekday"), strict=True)
            for moment in (here, there)
        ]
        assert set(parts[0]).isdisjoint(parts[1]), here


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_library_is_one_that_linkers_read(machine):
    content = clock.assemble(machine, 12345)
    assert content[:4] == b"\x7fELF" and len(content) < 2048
    assert content.count((12345).to_bytes(8, "little")) == 1


def test_a_home_that_cannot_be_written(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(clock.compiled, "folder", lambda name: blocked / name)
    monkeypatch.setattr(clock.tempfile, "gettempdir", lambda: str(tmp_path))
    path = clock.shared_object.__wrapped__()
    assert path.read_bytes() == clock.assemble(clock.platform.machine()) and path.is_relative_to(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o644
