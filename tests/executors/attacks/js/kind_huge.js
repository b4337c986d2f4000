function f(x) {
  const kind = { ['A'.repeat(1 << 24)]: class extends Error {} }['A'.repeat(1 << 24)];
  throw new kind('\ud800'.repeat(1 << 22));
}
