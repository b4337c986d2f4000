function f(x) { const a = []; for (;;) a.push(Buffer.allocUnsafeSlow(1 << 22).fill(1)); }
