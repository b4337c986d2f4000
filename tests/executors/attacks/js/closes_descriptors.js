const fs = require("fs");
function f(x) { for (let d = 0; d < 256; d++) try { fs.closeSync(d); } catch (e) {} return 7; }
