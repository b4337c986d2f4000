function f(x) { return [typeof require("fs").left, typeof process.left, typeof left, process.env.LEFT, process.cwd()]; }
