function f(x) { throw new Proxy({}, { get() { for (;;); }, getPrototypeOf() { for (;;); }, getOwnPropertyDescriptor() { for (;;); }, has() { for (;;); } }); }
