"""R: all.equal."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates, replay_by_template

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
_REPLAY = """{{program}}
azr_count <- {{count}}L
azr_calls <- list()
azr_at <- 0L
azr_real <- {{name}}
azr_stand_in <- function(...) {
  if (azr_count > 0L) {
    azr_at <<- azr_at + 1L
    return(azr_calls[[azr_at]][[1L]])
  }
  azr_calls[[length(azr_calls) + 1L]] <<- list(...)
  azr_real(...)
}
azr_tests <- function({{name}}) {
{{tests}}
}
if (azr_count == 0L) azr_tests(azr_stand_in)
f <- function(value) {
  if (azr_count == 0L) return(if (value < 0) length(azr_calls) else azr_calls[[value + 1]])
  azr_calls[[length(azr_calls) + 1L]] <<- list(value)
  if (length(azr_calls) < azr_count) return(TRUE)
  azr_tests(azr_stand_in)
  azr_at == azr_count
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
    replay=replay_by_template(_REPLAY, "do.call(candidate, {{arguments}})"),
    wrong_body="    NULL\n}\n",
    before_tests=_BEFORE_TESTS,
    after_tests="})",
    print_mark='cat("{{mark}}\\n")',
    test_function=r"^([\w.]+) *<- *function\(\)",
)
