"""Finds languages: the packages of a folder, and its single files, that bind LANGUAGE."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from executors.language import Language

_BINDS_LANGUAGE = re.compile(rb"^LANGUAGE\b[^=\n]*=", re.MULTILINE)
_OWN = Path(__file__).resolve().parent / "languages"
_lock = threading.Lock()
_own_languages: dict[str, Language] = {}


def own_languages() -> dict[str, Language]:
    """The languages of executors/languages, by name; read once."""
    with _lock:
        if not _own_languages:
            _own_languages.update(load_languages(_OWN))
        return _own_languages


def load_languages(directory: Path | str) -> dict[str, Language]:
    """The languages of `directory`, by name: NAME/__init__.py (or NAME.py) of each binds LANGUAGE.

    Raises ValueError for a missing directory, a LANGUAGE that is no Language, and a name that is bound twice.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ValueError(f"the language directory {str(folder)!r} does not exist: name a folder of languages")
    languages: dict[str, Language] = {}
    for path in _files(folder):
        language = _load(path, "executors" if folder.resolve() == _OWN else "executors_user")
        if language.name in languages:
            raise ValueError(f"{path} binds the language {language.name!r}, as another file does: rename one")
        languages[language.name] = language
    return languages


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted([*folder.glob("*.py"), *folder.glob("*/__init__.py")]):
        if _BINDS_LANGUAGE.search(path.read_bytes()):
            yield path


def _load(path: Path, root: str) -> Language:
    is_package = path.name == "__init__.py"
    name = f"{root}.languages.{path.parent.name if is_package else path.stem}"
    module = importlib.import_module(name) if root == "executors" else _import_file(name, path, is_package)
    language = module.LANGUAGE
    if not isinstance(language, Language):
        raise ValueError(f"LANGUAGE in {path} is {type(language).__name__}: bind a Language")
    return language


def _import_file(name: str, path: Path, is_package: bool):
    folders = [str(path.parent)] if is_package else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
