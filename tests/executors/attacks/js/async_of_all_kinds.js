async function f(x) {
  await null;
  return 7;
}
