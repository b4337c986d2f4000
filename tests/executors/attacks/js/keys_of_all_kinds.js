function f(x) {
  return [
    new Map([[NaN, 1], [-0, 2], ['1', 3], [1, 4], [1n, 5], [true, 6], [undefined, 7], [null, 8]]),
    new Set([0, NaN, NaN, '\ud800', '\udfff']), { 1: -0, '-0': 0, '\ud800': null, '': undefined }, [-0, 0],
  ];
}
