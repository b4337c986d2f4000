function f(x) { const e = new Error("\ud800\0".repeat(1 << 22)); e.constructor = { name: "N".repeat(1 << 22) }; throw e; }
