for (let i = 0; i < 10; i++) for (const p of [Object.prototype, Array.prototype]) Object.defineProperty(p, i, { __proto__: null, set(v) { throw v; }, get() { return 42; }, configurable: true });
for (const k of ["status", "message", "value", "length", "get", "then"]) Object.defineProperty(Object.prototype, k, { __proto__: null, get() { return 42; }, set() {}, configurable: true });
function f(x) { return { b: [1] }; }
