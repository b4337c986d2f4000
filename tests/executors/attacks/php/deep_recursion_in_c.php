<?php
class A implements JsonSerializable { function jsonSerialize(): mixed { return json_encode(new A); } }
function f($x) { return json_encode(new A); }
