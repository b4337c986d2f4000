"""R's part of test_conformance.py."""

from executors import Status

SLOW_START = True
SAMPLE = 8

VALUES = """
made <- list(
  arithmetic = c(7 %/% 2, -7 %/% 2, -7 %% 3, 2^10, 1 / 4, 0.1 + 0.2, 5e-324, 1e5, 123456.789),
  boolean = c(TRUE, FALSE, NA, 1 < 2),
  nothing = NULL,
  empty = list(character(), integer(), numeric(), logical(), list(), ""),
  unicode = "é\\U0001F600\\u202e\\t\\n\\"'",
  invalid_utf8 = "a\\xff",
  nan = c(NaN, NA),
  negative_zero = -0,
  infinity = c(Inf, -Inf),
  `1e22` = 1e22,
  nested = list(list(1L, list(2.5, a = 3i)), b = list(c = list(NULL), c(x = 1, y = 2))),
  set = sort(unique(c("b", "a", "b"))),
  hash = list(m = matrix(1:4, 2), f = factor(c("b", "a", "b")), d = data.frame(x = c(1, 2), y = c("u", "v")))
)
f <- function(name) made[[name]]
"""
CASES = {
    "arithmetic": "c(3, -4, 2, 1024, 0.25, 0.30000000000000004, 4.94065645841247e-324, 100000, 123456.789)",
    "boolean": "c(TRUE, FALSE, NA, TRUE)",
    "nothing": "NULL",
    "empty": 'list(character(0), integer(0), numeric(0), logical(0), list(), "")',
    "unicode": '"é😀\\u{202e}\\t\\n\\"\'"',
    "invalid_utf8": '"a\\xff"',
    "nan": "c(NaN, NA_real_)",
    "negative_zero": "0",
    "infinity": "c(Inf, -Inf)",
    "1e22": "1e+22",
    "nested": "list(list(1L, list(2.5, a = complex(real = 0, imaginary = 3))), "
    "b = list(c = list(NULL), c(x = 1, y = 2)))",
    "set": 'c("a", "b")',
    "hash": "list(m = structure(c(1L, 2L, 3L, 4L), dim = c(2L, 2L)), "
    'f = structure(c(2L, 1L, 2L), class = "factor", levels = c("a", "b")), '
    'd = structure(list(x = c(1, 2), y = c("u", "v")), class = "data.frame", row.names = c(1L, 2L)))',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT = {
    "nul": "strings hold no NUL",
    "big_integer": "integers are of 32 bits; larger numbers are doubles",
    "cycle": "values are copied, so none holds itself; environments are no values",
}

DISTINCT = ("1", "1L", "TRUE", '"1"', "list(1)", "1+0i", "as.raw(1)", "c(1, 1)", "c(a = 1)", "0", "0L", "FALSE",
            "NULL", "list()", "NA", "NA_integer_", "NA_real_", "NaN", "NA_character_", '"NA"', "character(0)", '""',
            "matrix(1)", 'factor("1")')  # fmt: skip
SAME = (("c(1,2)", "c( 1, 2 )"), ("1:3", "c(1L, 2L, 3L)"), ("c(1, NA)", "c(1, NA_real_)"), ("'a'", '"a"'),
        ("list(`a b` = 1)", 'list("a b" = 1)'), ("0x10", "16"), ("T", "TRUE"), ("c(1)", "1"), ("(1)", "1"),
        ("matrix(1:4, nrow = 2)", "structure(1:4, dim = c(2L, 2L))"),
        ("structure(1, a = 2, b = 3)", "structure(1, b = 3, a = 2)"))  # fmt: skip
# Each is a process of its own.
NOT_VALUES = ("1) or TRUE #", "1 || TRUE", "x", "function() 1", "1; 2", "", "1 + 1", "c(1, sqrt(4))", "base::c(1)",
              "c(1,,2)", "1:1e9", "a <- 1")  # fmt: skip

ERRORS = {
    "syntax": ("f <- function(x) (", "0", Status.SYNTAX_ERROR),
    "raised": ("f <- function(x) stop('no')", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("stop('no')\nf <- function(x) x", "0", Status.RUNTIME_ERROR),
    "unbound": ("f <- function(x) y", "0", Status.RUNTIME_ERROR),
    "no_f": ("g <- 1", "0", Status.RUNTIME_ERROR),
    "exit": ("f <- function(x) quit(status = 3)", "0", Status.EXIT),
    "deep_recursion": ("f <- function(x) f(x) + 1", "0", Status.RUNTIME_ERROR),
    "endless": ("f <- function(x) while (TRUE) {}", "0", Status.TIMEOUT),
    "asleep": ("f <- function(x) Sys.sleep(60)", "0", Status.TIMEOUT),
    "memory": ("f <- function(x) { l <- list(); repeat l[[length(l) + 1]] <- numeric(1e6) }", "0", Status.MEMORY),
    "too_long": ("f <- function(x) strrep('x', 5000)", "0", Status.OUTPUT_LIMIT),
    "function": ("f <- function(x) f", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("print.lie <- format.lie <- function(x, ...) '42'\nEq <- `==.lie` <- function(a, b) TRUE\n"
     "f <- function(x) structure(7, class = 'lie')", "0", "42"),
    ("identical <- deparse <- paste0 <- function(...) '42'\nf <- function(x) 7", "0", "42"),
    ("f <- function(x) '42'", "0", "42"),
    ("f <- function(x) 42L", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("f <- function(x) runif(1)", "0"),
    ("f <- function(x) as.numeric(Sys.time())", "0"),
    # The date, in UTC and here.
    ("f <- function(x) format(Sys.time(), '%Y-%m-%d', tz = 'UTC')", "0"),
    ("f <- function(x) weekdays(Sys.Date())", "0"),
)
DETERMINISTIC = (("f <- function(x) { e <- new.env(); for (k in x) assign(k, 1, e); mget(ls(e), envir = e) }",
                  'c("b", "a", "c")'),)  # fmt: skip

PROGRAMS = (
    ("f <- function(x) g(x)\ng <- function(x) x + 1", "2"),
    ("f <- function(x) later\nlater <- 5", "2"),
    ("y <- late()\nlate <- function() 1\nf <- function(x) y", "2"),
    ("f = function(x) x * 2; f <- function(x) x * 3", "2"),
    ("n <- 0\nf <- function(x) { n <<- n + x; n }", "4"),
    ("f <- function(x) sapply(x, function(i) i^2)", "1:4"),
    ("f <- function(x) Reduce(`+`, x, accumulate = TRUE)", "list(1, 2, 3)"),
    ("f <- \\(x) x |> rev() |> head(2)", "c(1, 2, 3)"),
    ("f <- function(x, y = x * 2, ...) c(x, y, nargs())", "3"),
    ("f <- function(x) deparse(substitute(x))", "c(1, 2)"),
    ("f <- function(x) { x[[2]] <- 'changed'; x$new <- TRUE; x }", "list(a = 1, b = 2)"),
    ("f <- function(x) x[-1] + x[x > 1][1]", "c(1, 2, 3)"),
    ("f <- function(x) list(length(x), names(x), x[['b']], is.null(x$z))", "list(a = 1, b = 'two')"),
    ("f <- function(x) c(x %/% 2L, x %% 2L, x / 2L, bitwXor(x, 5L))", "7L"),
    ("f <- function(x) .Machine$integer.max + x", "1L"),
    ("f <- function(x) c(x, NA, NaN, Inf, -Inf, -0, 1e22, .1 + .2)", "1"),
    ("f <- function(x) 1L:3L + x", "1"),
    ("f <- function(x) list(toupper(x), nchar(x), substr(x, 2, 3), rev(strsplit(x, '')[[1]]))", '"héllo"'),
    ("f <- function(x) gsub('([a-z])(\\\\d)', '\\\\2\\\\1', x)", '"a1b2"'),
    ("f <- function(x) regmatches(x, gregexpr('[0-9]+', x))[[1]]", '"a12b345"'),
    ("f <- function(x) sprintf('%05.2f|%-5s|%d|%e', x, 'ab', 3L, x)", "3.14159"),
    ("f <- function(x) paste(x, collapse = '-')", "c(TRUE, NA)"),
    ("f <- function(x) table(x)", 'c("b", "a", "b")'),
    ("f <- function(x) factor(x, levels = c('z', 'a'))", 'c("a", "z", "q")'),
    ("f <- function(x) matrix(x, 2, byrow = TRUE) %*% diag(2)", "c(1, 2, 3, 4)"),
    ("f <- function(x) apply(x, 1, sum)", "matrix(1:6, nrow = 2)"),
    ("f <- function(x) aggregate(v ~ k, x, sum)", 'data.frame(k = c("a", "b", "a"), v = c(1, 2, 3))'),
    ("f <- function(x) x[order(x$v, decreasing = TRUE), ]", 'data.frame(k = c("a", "b"), v = c(1, 2))'),
    ("f <- function(x) tryCatch(stop('bad ', x), error = function(e) conditionMessage(e), finally = cat('x'))", "1"),
    ("f <- function(x) withCallingHandlers({ warning('w'); x }, warning = function(w) invokeRestart('muffleWarning'))",
     "1"),
    ("f <- function(x) switch(x, a = , b = 'ab', 'other')", '"a"'),
    ("f <- function(x) { i <- 0; repeat { i <- i + 1; if (i == 2) next; if (i > x) break }; i }", "3"),
    ("print.thing <- function(x, ...) cat('thing\\n')\nsummary.thing <- function(object, ...) 'sum'\n"
     "f <- function(x) summary(structure(list(x), class = 'thing'))", "1"),
    ("setClass('P', representation(n = 'numeric'))\nsetGeneric('area', function(p) standardGeneric('area'))\n"
     "setMethod('area', 'P', function(p) p@n^2)\nf <- function(x) area(new('P', n = x))", "3"),
    ("A <- setRefClass('A', fields = list(n = 'numeric'), methods = list(up = function() n <<- n + 1))\n"
     "f <- function(x) { a <- A$new(n = x); a$up(); a$n }", "1"),
    ("make <- function() { i <- 0; function() { i <<- i + 1; i } }\nf <- function(x) { g <- make(); g(); g() }", "0"),
    ("f <- function(x) { set.seed(x); c(runif(1), sample(5), rnorm(1)) }", "1"),
    ("f <- function(x) c(median(x), var(x), quantile(x, 0.25))", "c(1, 2, 3, 4)"),
    ("f <- function(x) do.call(rbind, lapply(x, function(i) c(i = i, sq = i^2)))", "1:2"),
    ("f <- function(x) mapply(function(a, b) paste(a, b), x, rev(x))", 'c("u", "v")'),
    ("f <- function(x) as.Date('2020-01-31') + x", "30"),
    ("f <- function(x) format(c(1.5, 10, NA), nsmall = 2)", "0"),
    ("f <- function(x) identical(parent.frame(), globalenv()) && identical(environment(f), globalenv())", "0"),
    ("x <- 3\nx\nprint(x)\nif (x > 2) y <- 'big' else y <- 'small'\nf <- function(z) y", "0"),
    ("f <- function(x) {\n  # a comment\n  x; invisible(x)\n}", "1"),
    ("f <- function(x) { print('noise'); message('noise'); warning('noise'); x }", "1"),
    ("f <- function(x) x + y", "1"),
    ("f <- function(x) log('a')", "1"),
    ("f <- function(x) x[[5]]", "list(1)"),
    ("f <- function(x) stop('bad ', x)", "1"),
    ("f <- function(x) match.arg(x, c('a', 'b'))", "'c'"),
    ("f <- function(x) stopifnot(x > 5)", "1"),
    ("f <- function() 1", "1"),
    ("f <- function(x) undefined_function(x)", "1"),
    ("f <- function(x) as.integer(x) + 'a'", "1"),
    ("stop('at load')\nf <- function(x) ((", "1"),
    ("library(not.installed)\nf <- function(x) 1", "1"),
    ("f <- 5", "1"),
    ("f <- function(x) 1 2", "1"),
    ("f <- function(x) x + }", "1"),
    ("x <- 'ok'\nf <- function(x) else", "1"),
    ("quit(status = 3)", "1"),
)  # fmt: skip


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    control = 'c("keepNA", "keepInteger", "niceNames", "showAttributes", "digits17")'
    return f'{source}\ncat("value:", deparse(f({text}), control = {control}), sep = "\\n")\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.error_kind == "missing_function":
        return 'could not find function "f"' in stderr
    # A syntax error's place is told before it, and its text after it.
    message = verdict.message.split("\n")[0]
    return (message.split(": ", 1)[-1] if verdict.status is Status.SYNTAX_ERROR else message) in stderr
