function f(x) { return [Object.assign(Object.create({ toJSON() { return 42; } }), { a: 1 })]; }
