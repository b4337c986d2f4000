function f(x) { return Math.random(); }
