function f(x) { return { toString() { for (;;); }, valueOf() { for (;;); }, [Symbol.toPrimitive]() { for (;;); } }; }
