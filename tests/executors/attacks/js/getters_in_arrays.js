function f(x) {
  let calls = 0;
  const a = [1, 2, 3];
  Object.defineProperty(a, 1, { get: () => (calls += 1), enumerable: true, configurable: true });
  return a;
}
