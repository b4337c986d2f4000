const fs = require("fs");
function f(x) { const a = []; try { for (;;) a.push(fs.openSync("/dev/null")); } catch (e) { return 7; } }
