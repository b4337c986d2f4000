<?php
enum E { case A; }
class Any implements ArrayAccess, IteratorAggregate, Countable, Stringable, JsonSerializable {
    function __get($n) { return 42; } function __call($n, $a) { return 42; } function __toString(): string { return '42'; }
    function offsetExists($o): bool { return true; } function offsetGet($o): mixed { return 42; } function offsetSet($o, $v): void {}
    function offsetUnset($o): void {} function getIterator(): Iterator { while (true) yield 42; } function count(): int { return 1; }
    function jsonSerialize(): mixed { return 42; }
}
function f($x) { return [[E::A], [new Any], new ArrayObject([42])]; }
