const v8 = require("v8");
function f(x) { v8.setFlagsFromString("--max-old-space-size=1000000"); v8.setFlagsFromString("--max-heap-size=1000000"); const a = []; for (;;) a.push(new Array(1e5).fill(a.length)); }
