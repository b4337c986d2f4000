exit(0)
f(x) = 1
