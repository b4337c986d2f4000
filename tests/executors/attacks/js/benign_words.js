function f(x) { const m = new Map(); for (const w of x.split(" ")) m.set(w, (m.get(w) ?? 0) + 1); return [...m].sort(); }
