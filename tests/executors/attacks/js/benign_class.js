class P { constructor(v) { this.v = v; } get twice() { return 2 * this.v; } }
function f(x) { const p = new P(x); return { ...p, twice: p.twice, name: `p${x}` }; }
