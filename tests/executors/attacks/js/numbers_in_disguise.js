class Seven extends Number {
  constructor() { super(8); }
  valueOf() { return 7; }
  toString() { return '7'; }
  [Symbol.toPrimitive]() { return 7; }
  get [Symbol.toStringTag]() { return 'Number'; }
  static [Symbol.hasInstance]() { return true; }
}
Object.setPrototypeOf(Seven.prototype, Object.prototype);
function f(x) {
  return new Map([[1, new Seven()]]);
}
