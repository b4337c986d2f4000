// The stack runs out inside of everything that the harness calls afterwards, too.
let depth = 0;
function down() {
  depth += 1;
  try { return down(); } catch { return down(); }
}
function f(x) {
  return down();
}
