function f(x) { process.reallyExit(134); }
