Object.defineProperty(this, 0, { get() { return () => 42; } }); var f = (x) => 7;
