"""The tests that pages name as evidence exist."""

from __future__ import annotations

import fnmatch
import re

import pytest
from conftest import REPOSITORY

TESTS = {path.relative_to(REPOSITORY / "tests").as_posix(): path for path in (REPOSITORY / "tests").rglob("test_*.py")}
FUNCTIONS = {name for path in TESTS.values() for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", sorted(path.name for path in (REPOSITORY / "docs").glob("*.md")))
def test_every_test_that_a_page_names_exists(page):
    text = (REPOSITORY / "docs" / page).read_text()
    for file in re.findall(r"\btest_\w+\.py", text):
        assert any(name.endswith(file) for name in TESTS), file
    for name in re.findall(r"(?<![\w/])test_\w+\*?(?!\w*\.py)", text):
        assert fnmatch.filter(FUNCTIONS, name) or fnmatch.filter(TESTS, f"*{name}.py"), name
