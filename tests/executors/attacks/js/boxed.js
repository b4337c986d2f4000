function f(x) { return [new Number(7), new String("a"), Object(1n)]; }
