import subprocess
import sys

import huggingface_hub
import pytest
from conftest import REPOSITORY
from huggingface_hub import errors

from azr_jax.model import hub


def test_a_directory_and_the_packages_own_model_are_taken_as_they_are(tmp_path):
    assert hub.model_directory(str(tmp_path)) == tmp_path
    assert (hub.model_directory("azr_jax/embedded/azr-tiny") / "config.json").is_file()


@pytest.mark.parametrize("path", ["weights/Qwen2.5-Coder-3B", "./nowhere", "/no/where/at/all", "a/b/c", "nowhere"])
def test_a_local_path_that_does_not_exist_asks_no_hub(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(FileNotFoundError, match=rf"model\.path='{path}': no such directory.*hf download"):
        hub.model_directory(path)


def test_a_file_and_an_empty_path_are_no_directory(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()
    for path, words in ((str(file), "is a file"), ("", "names no model")):
        with pytest.raises(FileNotFoundError, match=rf"model\.path='{path}': {words}. Give the directory that holds"):
            hub.model_directory(path)


def test_a_folder_of_the_owners_name_makes_it_a_local_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileNotFoundError, match="no such directory"):
        hub.model_directory("mine/model")


def test_an_id_is_downloaded_and_only_what_is_read_of_it(monkeypatch, tmp_path):
    asked = []

    def download(hub_id, allow_patterns):
        asked.append((hub_id, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub.model_directory("Qwen/Qwen3-0.6B-Base") == tmp_path
    ((hub_id, patterns),) = asked
    assert hub_id == "Qwen/Qwen3-0.6B-Base" and "*.safetensors" in patterns and "*" not in patterns


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (errors.LocalEntryNotFoundError, "can't be reached.*hf download Some/Model-1B --local-dir weights/Model-1B"),
        (ConnectionError, "can't be reached"),
        (errors.HTTPError, "can't be reached"),
        (errors.RepositoryNotFoundError, "has no model of this id"),
        (errors.GatedRepoError, "accept it on https://huggingface.co/Some/Model-1B"),
    ],
)
def test_what_the_hub_says_is_one_message_that_names_the_id_asked_for(kind, words, monkeypatch):
    def download(*_, **__):
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(FileNotFoundError, match=rf"model\.path='Some/Model-1B': .*{words}") as error:
        hub.model_directory("Some/Model-1B")
    assert "Qwen" not in str(error.value)


def test_the_commands_say_that_a_path_is_wrong_before_they_ask_for_anything_else(tmp_path):
    """Before jax is imported, a workdir made, or benchmark data looked for on the hub."""
    training = ["azr_jax.main", "--config=configs/tiny.py", "--config.model.path=weights/gone"]
    scoring = ["azr_jax.evaluation", "run", "--model=weights/gone", "--language=lua"]
    source = "import runpy, sys; sys.argv[:1] = []; sys.modules['jax'] = sys.modules['huggingface_hub'] = None\n"
    source += "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    for arguments in ([*training, f"--workdir={tmp_path / 'run'}"], [*scoring, f"--out={tmp_path / 'scores'}"]):
        command = [sys.executable, "-c", source, *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and done.stderr.startswith("error: model.path='weights/gone': no such directory")
        assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_model_that_a_package_ships_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"hf download HuggingFaceTB/SmolLM2-135M-Instruct.*make setup-smollm2"):
        hub.model_directory(str(tmp_path / "SmolLM2-135M-Instruct"))
