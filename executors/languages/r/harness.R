# A separate environment: no program can name anything in it, and no program's name replaces one here.
local({
max_depth <- 40L

# Values as text ------------------------------------------------------------------------------------------------------

stop_with <- function(status, kind, message = "") {
  stop(structure(class = c("azr_claim", "condition"), list(message = message, call = NULL, claim = c(status, kind))))
}
refuse <- function(kind) stop_with("unserialisable", kind, "the value can't be written down")

left <- 0
spend <- function(chars) {
  left <<- left - chars
  if (left < 0) stop_with("output_limit", "", "the value has too many characters")
}

invisible_codes <- c(0x00:0x1F, 0x7F:0x9F, 0x200B:0x200F, 0x2028:0x202E, 0x2060:0x206F, 0xFEFF)
string_text <- function(text) {
  if (is.na(text)) return("NA_character_")
  # Only from latin1: enc2utf8 would rewrite text that is not UTF-8.
  if (Encoding(text) == "latin1") text <- enc2utf8(text)
  if (validUTF8(text)) {
    codes <- utf8ToInt(text)
    parts <- vapply(codes, intToUtf8, "")
    hidden <- codes %in% invisible_codes
    parts[hidden] <- sprintf("\\u{%x}", codes[hidden])
  } else {
    # R's parser refuses \u and \x in one string. Valid UTF-8 between the bytes stays unchanged.
    bytes <- charToRaw(text)
    parts <- character()
    at <- 1L
    while (at <= length(bytes)) {
      width <- 0L
      for (candidate in 1:4) {
        if (at + candidate - 1L > length(bytes)) break
        piece <- rawToChar(bytes[at:(at + candidate - 1L)])
        if (validUTF8(piece)) { width <- candidate; break }
      }
      if (width == 0L || bytes[at] < 0x20 || bytes[at] == 0x7F) {
        parts <- c(parts, sprintf("\\x%02x", as.integer(bytes[at])))
        width <- 1L
      } else {
        Encoding(piece) <- "UTF-8"
        parts <- c(parts, piece)
      }
      at <- at + width
    }
    named <- match(parts, c("\\x0a", "\\x09", "\\x0d"))
    parts[!is.na(named)] <- c("\\n", "\\t", "\\r")[named[!is.na(named)]]
  }
  named <- match(parts, c("\"", "\\", "\\u{a}", "\\u{9}", "\\u{d}"))
  parts[!is.na(named)] <- c("\\\"", "\\\\", "\\n", "\\t", "\\r")[named[!is.na(named)]]
  paste0("\"", paste(parts, collapse = ""), "\"")
}

character_texts <- function(values) {
  plain <- !is.na(values) & grepl("^[ !#-\\[\\]-~]*$", values, useBytes = TRUE, perl = TRUE)
  texts <- character(length(values))
  texts[plain] <- paste0("\"", values[plain], "\"")
  texts[!plain] <- vapply(values[!plain], string_text, "", USE.NAMES = FALSE)
  texts
}

double_texts <- function(values) {
  texts <- sprintf("%.15g", values)
  for (form in c("%.16g", "%.17g", "%a")) {
    finite <- is.finite(values)
    off <- finite & as.numeric(texts) != values
    texts[off] <- sprintf(form, values[off])
  }
  # identical(0, -0) is TRUE.
  texts[values == 0] <- "0"
  texts[is.na(values)] <- "NA_real_"
  texts[is.nan(values)] <- "NaN"
  texts[is.infinite(values)] <- ifelse(values[is.infinite(values)] > 0, "Inf", "-Inf")
  texts
}

atom_texts <- function(values) {
  switch(typeof(values),
    logical = ifelse(is.na(values), "NA", ifelse(values, "TRUE", "FALSE")),
    integer = ifelse(is.na(values), "NA_integer_", sprintf("%dL", values)),
    double = double_texts(values),
    complex = paste0("complex(real = ", double_texts(Re(values)), ", imaginary = ", double_texts(Im(values)), ")"),
    character = character_texts(values))
}

empty_texts <- c(logical = "logical(0)", integer = "integer(0)", double = "numeric(0)", complex = "complex(0)",
                 character = "character(0)", raw = "raw(0)", list = "list()")
reserved <- c("if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf",
              "NaN", "NA", "NA_integer_", "NA_real_", "NA_character_", "NA_complex_", "in")

name_text <- function(name) {
  if (grepl("^[A-Za-z][A-Za-z0-9._]*$", name, useBytes = TRUE) && !(name %in% reserved)) name else string_text(name)
}

emit <- function(value, depth = 0L) {
  if (is.null(value)) { spend(4); return("NULL") }
  type <- typeof(value)
  if (!(type %in% names(empty_texts))) refuse(type)
  if (isS4(value)) refuse("S4")
  if (depth >= max_depth) refuse(paste("more than", max_depth, "levels"))
  others <- attributes(value)
  attributes(value) <- NULL
  count <- length(value)
  if (2 * count > left + 2) spend(Inf)
  names <- others[["names"]]
  # Names that c() takes for its own arguments, or that a call can't give, are written as attributes.
  named <- !is.null(names) && count > 0L && !anyNA(names) && any(names != "") &&
    !(type != "list" && any(names %in% c("recursive", "use.names")))
  if (named) others[["names"]] <- NULL
  texts <- if (type == "list") vapply(value, emit, "", depth = depth + 1L)
    else if (type == "raw") sprintf("%d", as.integer(value))
    else atom_texts(value)
  if (type != "list") spend(sum(nchar(texts, "chars", allowNA = TRUE)))
  spend(2 * max(count - 1L, 0L))
  if (named) {
    given <- names != ""
    prefixes <- vapply(names[given], name_text, "")
    spend(sum(nchar(prefixes)) + 3 * sum(given))
    texts[given] <- paste0(prefixes, " = ", texts[given])
  }
  joined <- paste(texts, collapse = ", ")
  text <- if (count == 0L) empty_texts[[type]]
    else if (type == "list") paste0("list(", joined, ")")
    else if (type == "raw") if (named) refuse("a raw vector with names") else paste0("as.raw(c(", joined, "))")
    else if (count == 1L && !named) joined
    else paste0("c(", joined, ")")
  if (length(others) == 0L) return(text)
  if (any(attr(others, "names") %in% c("", ".Data")) || anyNA(attr(others, "names"))) refuse("an attribute's name")
  others <- others[order(attr(others, "names"), method = "radix")]
  spend(12)
  extra <- vapply(attr(others, "names"), function(name) {
    spend(nchar(name) + 5)
    paste0(name_text(name), " = ", emit(others[[name]], depth + 1L))
  }, "")
  paste0("structure(", text, ", ", paste(extra, collapse = ", "), ")")
}

write_down <- function(value, value_chars) arguments_text(list(value), value_chars)

# An argument list as text.
arguments_text <- function(arguments, value_chars) {
  left <<- value_chars + 16
  texts <- vapply(unname(arguments), emit, "")
  names <- names(arguments)
  if (!is.null(names)) {
    given <- names != ""
    texts[given] <- paste0(vapply(names[given], name_text, ""), " = ", texts[given])
  }
  text <- paste(texts, collapse = ", ")
  if (nchar(text) > value_chars) spend(Inf)
  text
}

# Values from text: constants and the constructors named here; nothing else is run -----------------------------------

no_value <- function() stop_with("forbidden", "NotAValue", "not a value: no constant, vector, list or structure")
plain_constructors <- c("c", "list", "matrix", "array", "data.frame", "factor", "complex", "as.raw", "logical",
                        "integer", "numeric", "double", "character", "raw", "vector", "seq_len", "as.integer",
                        "as.numeric", "as.character", "as.logical", "as.complex")
constructors <- lapply(structure(plain_constructors, names = plain_constructors), get, envir = baseenv())
old_names <- c(.Dim = "dim", .Dimnames = "dimnames", .Names = "names", .Label = "levels", .Tsp = "tsp")

structured <- function(arguments) {
  names <- names(arguments)
  if (length(arguments) == 0L || length(names) == 0L && length(arguments) > 1L) no_value()
  data <- if (is.null(names)) 1L else which(names %in% c("", ".Data"))
  if (length(data) != 1L) no_value()
  value <- arguments[[data]]
  given <- arguments[-data]
  older <- match(names(given), names(old_names))
  names(given)[!is.na(older)] <- old_names[older[!is.na(older)]]
  all <- attributes(value)
  if (is.null(value)) no_value()
  for (name in names(given)) all[name] <- list(given[[name]])
  attributes(value) <- all
  value
}

is_number <- function(value) is.atomic(value) && length(value) == 1L && (is.numeric(value) || is.complex(value))

build <- function(e, depth = 0L) {
  if (depth > max_depth + 2L) no_value()
  if (is.null(e) || is.atomic(e)) return(e)
  if (is.symbol(e)) {
    name <- as.character(e)
    return(switch(name, T = TRUE, F = FALSE, pi = pi, no_value()))
  }
  if (!is.call(e) || !is.symbol(e[[1L]])) no_value()
  name <- as.character(e[[1L]])
  arguments <- as.list(e)[-1L]
  if (any(vapply(arguments, function(argument) identical(argument, quote(expr = )), NA))) no_value()
  values <- lapply(arguments, build, depth = depth + 1L)
  if (name == "(") return(values[[1L]])
  if (name %in% c("-", "+") && all(vapply(values, is_number, NA))) {
    if (length(values) == 1L) return(if (name == "-") -values[[1L]] else values[[1L]])
    if (is.complex(values[[2L]]) && !is.complex(values[[1L]]))
      return(if (name == "-") values[[1L]] - values[[2L]] else values[[1L]] + values[[2L]])
    no_value()
  }
  if (name == ":" && length(values) == 2L && all(vapply(values, function(v) is_number(v) && is.finite(v), NA))) {
    if (abs(values[[2L]] - values[[1L]]) > 1e6) no_value()
    return(values[[1L]]:values[[2L]])
  }
  if (name == "structure") return(structured(values))
  if (!(name %in% plain_constructors)) no_value()
  do.call(constructors[[name]], values, quote = TRUE)
}

read_value <- function(text) {
  tryCatch(withCallingHandlers({
    parsed <- parse(text = text, keep.source = FALSE, encoding = "UTF-8")
    if (length(parsed) != 1L) no_value()
    list(build(parsed[[1L]]))
  }, warning = function(w) invokeRestart("muffleWarning")), error = function(e) no_value())
}

# The expressions of an argument list, the text between the parentheses of a call.
argument_expressions <- function(text) {
  no_list <- function(why) stop_with("forbidden", "NotAValue", paste("no argument list:", why))
  parsed <- tryCatch(parse(text = paste0("f(", text, "\n)"), keep.source = FALSE, encoding = "UTF-8"),
                     error = function(e) no_list(conditionMessage(e)))
  # A text such as "1)(2" closes the parenthesis by itself.
  if (length(parsed) != 1L || !is.call(parsed[[1L]]) || !identical(parsed[[1L]][[1L]], as.name("f")))
    no_list("its parentheses are not balanced")
  arguments <- as.list(parsed[[1L]])[-1L]
  if (length(arguments) == 0L) no_list("f needs an argument")
  if (any(vapply(arguments, function(argument) identical(argument, quote(expr = )), NA))) no_list("an argument is empty")
  arguments
}

read_arguments <- function(text) {
  arguments <- argument_expressions(text)
  tryCatch(withCallingHandlers(lapply(arguments, build), warning = function(w) invokeRestart("muffleWarning")),
           error = function(e) no_value())
}

# The same for any expressions, evaluated as in a call of f, without a program.
evaluate_arguments <- function(text) {
  arguments <- argument_expressions(text)
  scope <- new.env(parent = globalenv())
  assign("f", function(...) stop("an input can't call f: it is evaluated before and without the program"), scope)
  tryCatch(lapply(arguments, eval, scope), error = function(e) {
    claim <- failure(e)
    if (claim[[1L]] == "memory") stop_with("memory", claim[[2L]], claim[[3L]])
    stop_with("forbidden", claim[[2L]], paste("the input can't be evaluated:", claim[[3L]]))
  })
}

# Programs ------------------------------------------------------------------------------------------------------------

run_expressions <- function(expressions) {
  for (expression in as.list(expressions)) {
    result <- withVisible(eval(expression, globalenv()))
    if (result$visible) print(result$value)
  }
}

load_program <- function(source) {
  # As Rscript reads a file's lines.
  source <- gsub("\r\n", "\n", source, fixed = TRUE)
  parse_text <- function(text) parse(text = text, keep.source = FALSE, encoding = "UTF-8")
  whole <- tryCatch(parse_text(source), error = function(e) e)
  if (!inherits(whole, "error")) return(run_expressions(whole))
  # As from a file: the lines before the error run first.
  lines <- strsplit(source, "\n", fixed = TRUE)[[1L]]
  line <- suppressWarnings(as.integer(sub("^[^:]*:([0-9]+):.*", "\\1", conditionMessage(whole)[[1L]])))
  for (count in rev(seq_len(max(0L, min(length(lines), line, na.rm = TRUE) - 1L)))) {
    before <- tryCatch(parse_text(lines[seq_len(count)]), error = function(e) NULL)
    if (!is.null(before)) {
      run_expressions(before)
      break
    }
  }
  stop_with("syntax_error", "syntax", conditionMessage(whole))
}

failure <- function(e) {
  message <- tryCatch(as.character(conditionMessage(e))[[1L]], error = function(e) "")
  kind <- attr(e, "class")[[1L]]
  if (any(vapply(memory_errors, grepl, NA, message, fixed = TRUE))) return(c("memory", kind, message))
  if (kind == "simpleError" && grepl("could not find function \"f\"", message, fixed = TRUE)) kind <- "missing_function"
  c("runtime_error", kind, message)
}

answer <- function(kind, value_chars, source, inputs) {
  tryCatch({
    read <- switch(kind, value = read_value, expressions = evaluate_arguments, read_arguments)
    values <- lapply(inputs, read)
    if (kind == "evaluate") {
      source <- tryCatch(rawToChar(source), error = function(e) stop_with("syntax_error", "syntax", "nul in source"))
      Encoding(source) <- "UTF-8"
      load_program(source)
      if (!exists("f", globalenv(), mode = "function", inherits = FALSE))
        stop_with("runtime_error", "missing_function", "the program defines no function f")
    }
    texts <- vapply(values, function(value) {
      if (kind != "evaluate") return(arguments_text(value, value_chars))
      write_down(eval(as.call(c(list(as.name("f")), value)), globalenv()), value_chars)
    }, "")
    c("ok", "", "", texts)
  }, azr_claim = function(claim) c(claim$claim, claim$message), error = failure)
}

# Requests ------------------------------------------------------------------------------------------------------------

read_request <- function() {
  input <- file("stdin", "rb")
  data <- readBin(input, "raw", file.size("/proc/self/fd/0"))
  close(input)
  at <- 1L
  line <- function() {
    end <- at
    while (data[end] != 0x0A) end <- end + 1L
    number <- as.integer(rawToChar(data[seq.int(at, length.out = end - at)]))
    at <<- end + 1L
    number
  }
  lapply(seq_len(line()), function(index) {
    length <- line()
    field <- data[seq.int(at, length.out = length)]
    at <<- at + length
    field
  })
}

input_text <- function(bytes) {
  text <- tryCatch(rawToChar(bytes), error = function(e) "")
  Encoding(text) <- "UTF-8"
  text
}

reply <- function(fields) {
  # R cuts each text on standard error after 8191 bytes.
  for (field in c(paste0(length(fields), "\n"), rbind(paste0(nchar(fields, "bytes"), "\n"), fields)))
    for (start in seq.int(1L, max(1L, nchar(field)), by = 1000L))
      cat(substr(field, start, start + 999L), file = stderr())
}

clean <- function(text, count) {
  if (!validUTF8(text)) text <- iconv(text, "UTF-8", "UTF-8", sub = "byte")
  substr(enc2utf8(text), 1L, count)
}

main <- function() {
  request <- read_request()
  value_chars <- as.integer(rawToChar(request[[2L]]))
  message_chars <- as.integer(rawToChar(request[[3L]]))
  # The reply uses standard error, so the program's messages go where its output goes.
  sink(stdout(), type = "message")
  claim <- answer(rawToChar(request[[1L]]), value_chars, request[[5L]], lapply(request[-(1:5)], input_text))
  sink(type = "message")
  if (claim[[1L]] != "ok") claim <- vapply(claim, clean, "", count = message_chars, USE.NAMES = FALSE)
  reply(claim)
  quit("no", 0L, FALSE)
}

memory_errors <- c("cannot allocate", "memory exhausted", "Cannot allocate memory")
main()
}, envir = new.env(parent = baseenv()))
