const fs = require("fs");
function f(x) { const d = fs.openSync("/proc/self/mem", "r"); const maps = fs.readFileSync("/proc/self/maps", "latin1").split("\n").filter(l => l.includes("rw-p")); let n = 0; for (const l of maps) { const [a] = l.split("-"); const b = Buffer.alloc(4096); try { n += fs.readSync(d, b, 0, 4096, Number("0x" + a)); } catch (e) {} } return n > 0; }
