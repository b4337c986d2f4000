function f(x) { return Object.setPrototypeOf(new Date(), Object.prototype); }
