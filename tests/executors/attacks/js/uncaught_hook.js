process.on("uncaughtException", () => { for (;;); });
function f(x) { throw new Error("x"); }
