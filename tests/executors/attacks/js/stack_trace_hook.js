Error.prepareStackTrace = () => { for (;;); };
Error.stackTraceLimit = Infinity;
function f(x) { null.a; }
