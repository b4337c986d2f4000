const bad = () => { throw 42; };
const { ownKeys, getOwnPropertyDescriptor, defineProperty } = Reflect;
const owners = [Array.prototype, String.prototype, Number.prototype, BigInt.prototype, RegExp.prototype, Object, Reflect, JSON, Math, Map.prototype, Set.prototype, Function.prototype, Buffer.prototype, Buffer, process, require("fs"), require("util").types, require("vm")];
const found = [];
let n = 0;
for (let i = 0; i < owners.length; i++) { const keys = ownKeys(owners[i]); for (let j = 0; j < keys.length; j++) { const d = getOwnPropertyDescriptor(owners[i], keys[j]); if (d.configurable && typeof d.value === "function" && keys[j] !== "constructor") found[n++] = [owners[i], keys[j]]; } }
for (let i = 0; i < n; i++) defineProperty(found[i][0], found[i][1], { __proto__: null, value: bad });
function f(x) { return { b: [1, "x", -0, 7n] }; }
