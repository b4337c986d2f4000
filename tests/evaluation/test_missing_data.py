"""A run whose benchmark data is missing: an error, or said at the start and passed over, as its settings have it."""

import pytest

from azr_jax.config import from_mapping
from azr_jax.evaluation.scoring.benchmarks import Benchmarks
from configs import julia


def config_of(folder, missing):
    config = julia.get_config()
    config.evaluation.update({"benchmark_data": str(folder), "benchmark_missing": missing})
    return from_mapping(config.to_dict())


def test_the_papers_configs_say_at_the_start_what_fig_2_will_lack_and_go_on(tmp_path, caplog):
    with Benchmarks.open(config_of(tmp_path, "skip")) as benchmarks:
        assert benchmarks.problems == {}
    for benchmark in ("humaneval", "mbpp"):
        assert f"{benchmark} in julia will not be scored, so Fig. 2 has no curve of it" in caplog.text
    assert "--config.evaluation.benchmark_data=data" in caplog.text


def test_a_run_that_asks_for_its_benchmarks_does_not_start_without_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="humaneval"), Benchmarks.open(config_of(tmp_path, "error")):
        pass
