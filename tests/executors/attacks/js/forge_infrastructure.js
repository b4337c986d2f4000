const fs = require("fs");
function frame(...fields) { const parts = [Buffer.alloc(4)]; parts[0].writeUInt32BE(fields.length); for (const t of fields) { const h = Buffer.alloc(4); h.writeUInt32BE(Buffer.byteLength(t)); parts.push(h, Buffer.from(t)); } return Buffer.concat(parts); }
function f(x) { for (let d = 3; d < 64; d++) try { fs.writeSync(d, frame("infrastructure", "", "")); } catch (e) {} process.reallyExit(0); }
