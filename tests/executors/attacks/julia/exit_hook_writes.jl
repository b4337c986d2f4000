atexit(() -> write("/var/tmp/azr_canary/a", "x"))
f(x) = 7
