Array.prototype[Symbol.iterator] = function () { for (;;); };
Object.getPrototypeOf([][Symbol.iterator] ? new Map().entries() : 0).next = function () { for (;;); };
function f(x) { return [1, new Map([]), new Set()]; }
