// Thousands of buffers outside of V8's heap, each of which the kernel maps alone.
function f(x) {
  const kept = [];
  for (;;) kept.push(new ArrayBuffer(1 << 12), new SharedArrayBuffer(1 << 12));
}
