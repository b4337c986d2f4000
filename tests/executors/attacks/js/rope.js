// A string of half a gigabyte that takes no memory until somebody looks at it.
function f(x) {
  let rope = 'ab';
  while (rope.length < 2 ** 28) rope += rope;
  return [rope];
}
