function f(x) { const a = []; a.length = 2 ** 32 - 1; return a; }
