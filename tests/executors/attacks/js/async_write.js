require("fs").promises.writeFile("/var/tmp/azr_canary/a", "x"); setTimeout(() => require("fs").writeFileSync("/var/tmp/azr_canary/b", "x"), 500);
function f(x) { return 7; }
