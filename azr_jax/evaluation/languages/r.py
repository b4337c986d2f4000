"""R: all.equal."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates

# An f that makes the call of a given number, and otherwise is the program's own f, if it has one.
_COLLECT = """{{program}}
f <- local({
azr_own <- if (exists("f", mode = "function")) f else NULL
azr_test <- function(azr_call) {
candidate <- {{function}}
{{cases}}
}
function(...) {
  azr_first <- if (...length() == 1L) ..1 else NULL
  if (is.list(azr_first) && identical(names(azr_first), "azr_call")) azr_test(azr_first$azr_call) else azr_own(...)
}
})
"""
_COMPARE = """azr_expected <- list(
{{expected}})
azr_at <- 0L
f <- function(value) {
  azr_at <<- azr_at + 1L
  tryCatch(isTRUE(all.equal(value, azr_expected[[azr_at]]())), error = function(e) FALSE)
}
"""
# NULL == 1 has no element in R, and stopifnot accepts that. In the tests an empty value equals only empty ones.
_BEFORE_TESTS = """local({
`==` <- function(e1, e2)
  if (length(e1) && length(e2)) base::`==`(e1, e2) else identical(length(e1), length(e2))
"""
LANGUAGE = BenchmarkLanguage(
    name="r",
    form=Form(
        re.compile(
            r"\s*test_humaneval <- function\(\) \{\s*\n\s*candidate <- ([^\n]+)\n(.*)\n\}\s+test_humaneval\(\)\s*\Z",
            re.DOTALL,
        ),
        "stopifnot(isTRUE(all.equal(",
        re.compile(r",\s*"),
        re.compile(r"\)\)\)"),
        quotes="\"'",
    ),
    instrument=by_templates(
        collect=_COLLECT,
        case="if (azr_call == {{number}}) return({{call}})",
        compare=_COMPARE,
        expected="function() {{expected}}",
        call_input="list(azr_call = {{number}}L)",
        right="TRUE",
    ),
    wrong_body="    NULL\n}\n",
    before_tests=_BEFORE_TESTS,
    after_tests="})",
    print_mark='cat("{{mark}}\\n")',
    test_function=r"^([\w.]+) *<- *function\(\)",
)
