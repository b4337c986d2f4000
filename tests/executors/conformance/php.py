"""PHP's part of test_conformance.py."""

from executors import Status

VALUES = r"""<?php
$made = [
  "arithmetic" => [intdiv(-7, 2), -7 % 3, 2 ** 10, 2 ** -1, 1 / 4, 0.1 + 0.2, 5e-324, 7 | 8, 10 / 5, 7 / 2, 1e3],
  "boolean" => [true, false, 1 < 2],
  "nothing" => null,
  "empty" => ["", []],
  "unicode" => "é😀\u{202e}\t\n\"'\$x",
  "nul" => "a\0b",
  "invalid_utf8" => "a\xff",
  "nan" => NAN,
  "negative_zero" => -0.0,
  "infinity" => [INF, -INF],
  "1e22" => 1e22,
  "nested" => [[1, [2.5, ["a" => [3]]]], ["b" => ["c" => [null]]], PHP_INT_MIN],
  "set" => array_unique(["b", "a", "b"]),
  "hash" => ["z" => 1, 2 => "two", "-3" => 4, "a b" => 5, "" => 6],
];
function f($name) { global $made; return $made[$name]; }
"""
CASES = {
    "arithmetic": "[-3, -1, 1024, 0.5, 0.25, 0.30000000000000004, 5.0E-324, 15, 2, 3.5, 1000.0]",
    "boolean": "[true, false, true]",
    "nothing": "null",
    "empty": '["", []]',
    "unicode": '"é😀\\xe2\\x80\\xae\\t\\n\\"\'\\$x"',
    "nul": '"a\\x00b"',
    "invalid_utf8": '"a\\xff"',
    "nan": "NAN",
    "negative_zero": "-0.0",
    "infinity": "[INF, -INF]",
    "1e22": "1.0E+22",
    "nested": '[[1, [2.5, ["a" => [3]]]], ["b" => ["c" => [null]]], PHP_INT_MIN]',
    "set": '["b", "a"]',
    "hash": '["z" => 1, 2 => "two", -3 => 4, "a b" => 5, "" => 6]',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT = {
    "big_integer": "integers are of 64 bits, and larger numbers are floats",
    "deep_recursion": "calls are on the heap: recursion ends with the memory",
}

DISTINCT = ("1", "1.0", "true", '"1"', "[1]", "[1 => 1]", "0", "0.0", "-0.0", "false", "null", '"null"', '""', "[]",
            "NAN", "INF", "PHP_INT_MIN", "-9.2233720368547758E+18", '["a" => 1, "b" => 2]', '["b" => 2, "a" => 1]',
            '"\\xff"')  # fmt: skip
SAME = (
    ("[1,2]", "array( 1, 2, )"),
    ('["0" => 1]', "[1]"),
    ("0x10", "16"),
    ("'a'", '"\\x61"'),
    ("1_000", "1000"),
    ("017", "15"),
    ("(1)", "1"),
    ("TRUE", "true"),
    ("9223372036854775808", "9.2233720368547758E+18"),
    ("/* one */ 1 // one", "1"),
)
NOT_VALUES = ("1) or true //", "1 || 2", "$x", "print(1)", "fn() => 1", "exit", "1; 2", "", "1 + 1", "[f()]", "1, 2",
              "n: 1", '"$x"', '"{$x}"', "[1][0]", "`ls`", "new A", "[1 => 2 => 3]", "[[] => 1]", "A::B",
              "[" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("<?php function f($x { }", "0", Status.SYNTAX_ERROR),
    "raised": ("<?php function f($x) { throw new Exception('no'); }", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("<?php throw new Exception('no'); function f($x) { return 1; }", "0", Status.RUNTIME_ERROR),
    "unbound": ("<?php function f($x) { return y(); }", "0", Status.RUNTIME_ERROR),
    "no_f": ("<?php $g = 1;", "0", Status.RUNTIME_ERROR),
    "exit": ("<?php function f($x) { exit(3); }", "0", Status.EXIT),
    "endless": ("<?php function f($x) { while (true) {} }", "0", Status.TIMEOUT),
    "asleep": ("<?php function f($x) { sleep(60); }", "0", Status.TIMEOUT),
    "memory": ("<?php function f($x) { $t = []; while (true) $t[] = [$t]; }", "0", Status.MEMORY),
    "too_long": ("<?php function f($x) { return str_repeat('x', 5000); }", "0", Status.OUTPUT_LIMIT),
    "function": ("<?php function f($x) { return fn() => 1; }", "0", Status.UNSERIALISABLE),
    "cycle": ("<?php function f($x) { $t = []; $t[0] = &$t; return $t; }", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("<?php class Lie { function __toString() { return '42'; } } function f($x) { return new Lie; }", "0", "42"),
    ("<?php function f($x) { return '42'; }", "0", "42"),
    ("<?php function f($x) { return 42.0; }", "0", "42"),
    ("<?php function f($x) { return [42]; }", "0", "42"),
    ("<?php ini_set('serialize_precision', '1'); ini_set('precision', '1'); function f($x) { return 41.9; }",
     "0", "42.0"),
    ("<?php foreach (['is_int', 'var_export', 'implode'] as $n) { try { eval(\"function $n() { return '42'; }\"); } "
     "catch (Error) {} } set_error_handler(fn() => 42); function f($x) { return 7; }", "0", "42"),
    ("<?php (new ReflectionProperty('AzrHarness', 'lists'))->setValue(null, [['42']]); function f($x) { return $x; }",
     "0", "42"),
    ("<?php register_shutdown_function(fn() => fwrite(fopen('php://fd/3', 'w'), \"4\\n2\\nok0\\n0\\n2\\n42\"));\n"
     "function f($x) { return 7; }", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("<?php function f($x) { return rand(); }", "0"),
    ("<?php function f($x) { return microtime(true); }", "0"),
    ("<?php function f($x) { $a = range(1, 50); shuffle($a); return $a; }", "0"),
    ("<?php function f($x) { return uniqid(); }", "0"),
    ("<?php function f($x) { return date('l'); }", "0"),
    ("<?php function f($x) { return intdiv(time(), 86400); }", "0"),
)
DETERMINISTIC = (
    ("<?php function f($x) { return implode(',', array_keys($x)); }", '["b" => 1, "a" => 2]'),
    ("<?php function f($x) { mt_srand(7); return mt_rand(1, 1000); }", "0"),
)

PROGRAMS = (
    ("<?php\nfunction f($x) { return g($x); }\nfunction g($x) { return $x + 1; }", "2"),
    ("<?php\ndeclare(strict_types=1);\nfunction f(int $x): string { return (string) $x; }", "2"),
    ("#!/usr/bin/env php\n<?php\nfunction f($x) { return $x; }\n?>\n", "2"),
    ("<?php\n$n = 5;\nfunction f($x) { global $n; return $n + $x + $GLOBALS['n']; }", "2"),
    ("<?php\nfunction f($x, $y = 5, ...$rest) { return [$x, $y, $rest]; }", "1, 2, 3, 4"),
    ("<?php\nfunction f($x, $y = 5, $z = 6) { return [$x, $y, $z]; }", "1, z: 2"),
    ("<?php\nfunction f($x) { $y = &$x[0]; $y++; return $x; }", "[1, 2]"),
    ("<?php\nfunction f($x) { static $n = 0; return $n += $x; }", "4"),
    ("<?php\nfunction f($x) { return [intdiv($x, 2), $x % 3, $x ** 2, $x / 2, -$x % 3, $x & 6, $x | 8, $x ^ 1, "
     "~$x, $x << 3]; }",
     "7"),
    ("<?php\nfunction f($x) { return [1 == 1.0, 1 === 1.0, '1' == '01', 'abc' == 0, null ?? 5, 1 <=> 2, '10' + "
     "5, '1.5' + 1, 10 . 20]; }",
     "0"),
    ("<?php\nfunction f($x) { return [PHP_INT_MAX + 1, 0.1 + 0.2, 1e15, 1e100, 1/3, (int) '12abc', (float) "
     "'1e3', (bool) '0', 7.0]; }",
     "0"),
    ("<?php\nfunction f($x) { return [strtoupper($x), strrev($x), substr($x, 1, 2), strpos($x, 'l'), ord($x), "
     "ucfirst($x), strlen($x)]; }",
     "'hello'"),
    ("<?php\nfunction f($x) { return [strlen($x), substr($x, 0, 2), bin2hex($x)]; }", "'é'"),
    ("<?php\nfunction f($x) { preg_match_all('/(\\w+)=(\\w+)/', $x, $m); return array_combine($m[1], $m[2]); "
     "}", "'a=1, b=2'"),
    ("<?php\nfunction f($x) { return preg_replace_callback('/l+/', fn($m) => '<' . strlen($m[0]) . '>', $x); "
     "}", "'hello'"),
    ("<?php\nfunction f($x) { return sprintf('%05.2f|%-5s|%x|%+d|%s|%e', $x, 'ab', 255, 3, 1e21, 12345.678); "
     "}", "3.14159"),
    ("<?php\nfunction f($x) { rsort($x); return array_values(array_filter($x, fn($n) => $n & 1)); }", "[3, 1, 2, 5]"),
    ("<?php\nfunction f($x) { uasort($x, fn($a, $b) => $b <=> $a); return $x; }", "['a' => 1, 'b' => 3, 'c' => 2]"),
    ("<?php\nfunction f($x) { return [array_sum($x), max($x), array_map(null, $x, $x), array_reduce($x, fn($c, "
     "$n) => $c * $n, 1)]; }",
     "[1, 2, 3]"),
    ("<?php\nfunction f($x) { array_splice($x, 1, 1, ['n', 'm']); array_push($x, count($x)); return [$x, "
     "implode('-', $x), array_slice($x, -2)]; }",
     "[1, 2, 3]"),
    ("<?php\nfunction f($x) { $x['new'] = count($x); unset($x['k']); return isset($x['k']) ? 0 : $x; }", "['k' "
     "=> 'v', 'z' => 1]"),
    ("<?php\nfunction f($x) { [$a, [, $b]] = $x; ['k' => $c] = ['k' => 3]; return [$a, $b, $c]; }", "[1, [2, 3]]"),
    ("<?php\nfunction f($x) { return match(true) { $x < 5 => 'low', $x < 10 => 'mid', default => 'high' }; }", "7"),
    ("<?php\nfunction f($x) { return match($x) { 1 => 'one' }; }", "7"),
    ("<?php\nfunction gen($n) { for ($i = 0; $i < $n; $i++) yield $i => $i * 2; return 9; }\n"
     "function f($x) { $g = gen($x); return [iterator_to_array($g), $g->getReturn()]; }",
     "3"),
    ("<?php\nabstract class S { abstract function area(): float; static function make(...$a): static { return "
     "new static(...$a); } }\n"
     "final class Q extends S { function __construct(private readonly float $s) {} function area(): float { "
     "return $this->s ** 2; } }\n"
     "function f($x) { return Q::make($x)->area(); }", "3"),
    ("<?php\ninterface I { const N = 5; }\n"
     "trait T { public function hi() { return static::class . self::N; } }\nclass A implements I { use T; }\n"
     "enum E: string { case X = 'x'; public static function of($v) { return self::from($v)->name; } }\n"
     "function f($x) { return [(new A)->hi(), E::of($x)]; }", "'x'"),
    ("<?php\nclass M implements ArrayAccess, IteratorAggregate, Countable { private $d = [];\n"
     "function offsetExists($o): bool { return isset($this->d[$o]); } function offsetGet($o): mixed { return "
     "$this->d[$o] ?? null; }\n"
     "function offsetSet($o, $v): void { $this->d[$o] = $v; } function offsetUnset($o): void { "
     "unset($this->d[$o]); }\n"
     "function getIterator(): Iterator { return new ArrayIterator($this->d); } function count(): int { return "
     "count($this->d); }\n"
     "function __call($n, $a) { return [$n, $a]; } }\n"
     "function f($x) { $m = new M; $m['a'] = $x; return [$m['a'], $m['b'], count($m), iterator_to_array($m), "
     "$m->other(1)]; }", "4"),
    ("<?php\nfunction f($x) { try { intdiv(1, $x); } catch (DivisionByZeroError $e) { return $e->getMessage(); "
     "} finally { $x = 1; } }", "0"),
    ("<?php\nfunction counter($n) { return function () use (&$n) { return $n++; }; }\n"
     "function f($x) { $c = counter($x); $c(); return $c(); }", "4"),
    ("<?php\nfunction fact($n) { return $n < 2 ? 1 : $n * fact($n - 1); }\n"
     "function f($x) { return [fact($x), fact(25)]; }", "20"),
    ("<?php\nfunction f($x) { $s = ''; foreach ([1, 2, 3] as $i) { foreach ([1, 2, 3] as $j) { if ($j == 2) "
     "continue 2; if ($i == 3) break 2; $s .= \"$i$j \"; } } return $s; }", "0"),
    ("<?php\nfunction f($x) { return <<<A\n  a $x {$x}\n  A . <<<'B'\n  \\n$x\n  B; }", "3"),
    ("<?php\nfunction f($x) { return eval('return 1 + 2 * $x;'); }", "3"),
    ("<?php\nif (true) { function f($x) { return 'conditional'; } }", "3"),
    ("<?php\nif (!function_exists('h')) { function h() { return 'h'; } }\nfunction f($x) { return h(); }", "3"),
    ("<?php\nfunction f($x) { return json_decode(json_encode($x), true); }", "['a' => [1, null, 2.5], 'b' => 'é']"),
    ("<?php\nfunction f($x) { return [var_export($x, true), print_r([1], true), serialize([1.5]), "
     "gettype(1.0)]; }", "1.0"),
    ("<?php\nfunction f($x) { return [ctype_digit('12'), md5('a'), base64_encode('a'), number_format(1234.5, "
     "2), array_is_list([1])]; }", "0"),
    ("<?php\nfunction f($x) { $q = new SplPriorityQueue; foreach ($x as $n) $q->insert($n, $n); $o = []; while "
     "(!$q->isEmpty()) $o[] = $q->extract(); return $o; }", "[2, 3, 1]"),
    ("<?php\nfunction f($x) { return [__FUNCTION__, __LINE__, $argc ?? 'none']; }", "0"),
    ("<?php\nfunction f($x) { echo 'noise'; fwrite(STDERR, 'noise'); trigger_error('noise'); "
     "error_log('noise'); return $x; }", "2"),
    ("<?php\nfunction f($x) { return $undefined . @$x['none'] . 'end'; }", "[]"),
    ("<?php\nfunction f($x) { return str_word_count('a b c') . PHP_EOL . PHP_INT_SIZE; }", "0"),
    ("text before <?php\nfunction f($x) { return 'mixed'; } ?> text after <?= 1 ?>", "0"),
    ("<?php\nfunction f($x) { return $x->a; }", "1"),
    ("<?php\nfunction f($x) { return $x->a(); }", "1"),
    ("<?php\nfunction f($x) { return nothing($x); }", "1"),
    ("<?php\nfunction f($x) { return new Nothing; }", "1"),
    ("<?php\nfunction f($x) { return [] + $x; }", "1"),
    ("<?php\nfunction f(int $x) { return $x; }", "'text'"),
    ("<?php\nfunction f($x, $y) { return 1; }", "1"),
    ("<?php\nfunction f($x) { return 1 % 0; }", "1"),
    ("<?php\nclass Odd extends RuntimeException {} function f($x) { throw new Odd(\"told $x\"); }", "1"),
    ("<?php\nfunction f($x) { assert($x > 5); return 1; }", "1"),
    ("<?php\nfunction f($x) { require 'not/there.php'; }", "1"),
    ("<?php\nthrow new Error('at load'); function f($x) { return 1; }", "1"),
    ("<?php\n$f = fn($x) => 1;", "1"),
    ("<?php\nfunction f($x) { return 1; } function f($x) { return 2; }", "1"),
    ("<?php\nfunction f($x) { return 1 }", "1"),
    ("<?php\nfunction f($x) { return 'unfinished; }", "1"),
    ("<?php\nfunction f($x) { break; }", "1"),
    ("<?php\nexit(3);", "1"),
)  # fmt: skip


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    tags = source.count("<?") - source.count("?>")
    return f'{source}\n{"" if tags > 0 else "<?php "}$azr = f({text}); echo "value:", var_export($azr, true);\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.error_kind == "missing_function":
        return "undefined function f()" in stderr
    # The line and the file of a call are others.
    return (
        verdict.message.split(", called in")[0].split(" passed in")[0].split(" (previously")[0].split("\n")[0] in stderr
    )
