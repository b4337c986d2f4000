"""Finds languages: the files of a folder that bind LANGUAGE."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from pathlib import Path

from executors.language import Language

_BINDS_LANGUAGE = re.compile(rb"^LANGUAGE\b[^=\n]*=", re.MULTILINE)
_OWN = Path(__file__).parent
_lock = threading.Lock()
_own_languages: dict[str, Language] = {}


def own_languages() -> dict[str, Language]:
    """The languages of this package, by name; read once."""
    with _lock:
        if not _own_languages:
            _own_languages.update(load_languages(_OWN))
        return _own_languages


def load_languages(directory: Path | str) -> dict[str, Language]:
    """The languages that the files of `directory` bind as LANGUAGE, by name.

    Raises ValueError for a missing directory, a LANGUAGE that is no Language, and a name that is bound twice.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ValueError(f"the language directory {str(folder)!r} does not exist: name a folder of language files")
    prefix = "executors" if folder.resolve() == _OWN.resolve() else "executors_languages"
    languages: dict[str, Language] = {}
    for path in sorted(folder.glob("*.py")):
        if not _BINDS_LANGUAGE.search(path.read_bytes()):
            continue
        language = _load(path, f"{prefix}.{path.stem}")
        if language.name in languages:
            raise ValueError(f"{path} binds the language {language.name!r}, as another file does: rename one")
        languages[language.name] = language
    return languages


def _load(path: Path, module_name: str) -> Language:
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    language = module.LANGUAGE
    if not isinstance(language, Language):
        raise ValueError(f"LANGUAGE in {path} is {type(language).__name__}: bind a Language")
    return language
