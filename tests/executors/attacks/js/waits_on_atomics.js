function f(x) { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); return 1; }
