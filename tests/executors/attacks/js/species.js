// The list that the harness sorts, filled and read through classes of our own.
Object.defineProperty(Array, Symbol.species, { get() { throw 1; } });
Object.defineProperty(Array.prototype, 'sort', { value: () => [42] });
Object.defineProperty(Object.prototype, 'then', { get() { throw 2; } });
Object.defineProperty(Object.prototype, '__proto__', { get() { throw 3; }, set() { throw 4; } });
Object.defineProperty(Array.prototype, Symbol.iterator, { value: function* () { yield 42; } });
function f(x) {
  const a = new Set();
  a.add(3).add(1).add(2);
  return { b: [2, 1], a };
}
