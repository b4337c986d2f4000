require("fs").left = 1; process.left = 1; globalThis.left = 1; require.cache.left = 1; process.env.LEFT = "1"; process.chdir("/usr");
function f(x) { return 1; }
