function f(x) { const a = [1]; Object.defineProperty(a, "b", { value: 2 }); a[Symbol("s")] = 3; return a; }
