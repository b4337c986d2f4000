const lie = new Proxy({}, { get: () => 42, has: () => true, ownKeys: () => ['a'], getOwnPropertyDescriptor: () => undefined });
for (const prototype of [Array.prototype, Map.prototype, Set.prototype, String.prototype, Number.prototype, Function.prototype]) {
  try { Object.setPrototypeOf(prototype, lie); } catch { /* some are immutable */ }
}
function f(x) {
  return [1, 'a', new Map([[1, [2]]]), new Set(['b']), { c: null }];
}
