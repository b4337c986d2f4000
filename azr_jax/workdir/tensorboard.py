"""TensorBoard's file of a run. No jax."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from absl import logging
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from azr_jax.workdir.atomic import append


class Events:
    """TensorBoard's file in `folder`, a step's scalars in one append; hides earlier events of `purge_step` and later.

    Not tensorboardX' own writer: a full disk ends its thread, and then its full queue blocks the run.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        # tensorboardX' name has seconds only: a quick restart overwrote the file.
        self._file = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{time.time_ns()}"
        self._unwritten = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            self._unwritten += _record(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends the step and those before it that could not be written."""
        values = [entry for key, value in metrics.items() for entry in scalar(key, value).value]
        self._unwritten += _record(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            append(self._file, self._unwritten)
        except OSError as error:
            logging.warning("TensorBoard's copy of step %d waits for the next: %s", step, error)
        else:
            self._unwritten = b""


def _record(event: Event) -> bytes:
    """An event as TFRecord: length, its checksum, content, its checksum."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + sums[0] + content + sums[1]
