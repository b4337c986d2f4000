"""One page of a finished run whose texts are hostile, drawn once: that takes seconds."""

import pytest
from run_folders import EVIL, run_folder

from azr_jax.report import write


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The run's workdir, with its report written."""
    workdir = run_folder(tmp_path_factory.mktemp("runs") / "tiny <b>bold", text=EVIL)
    write([workdir], workdir / "report.html")
    return workdir
