f(x) = occursin(r"^(([a-z])+.)+[A-Z]([a-z])+$", "a"^64)
