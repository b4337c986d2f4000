class A extends Array { get length() { return 0; } }
function f(x) { const a = new A(); a.push(7); return a; }
