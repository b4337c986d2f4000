globalThis.g = 1; return;
function f(x) { return 7; }
