function f(x) { const m = new Map(); m.set("s", new Set([m])); return [m]; }
