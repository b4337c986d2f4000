f(x) = ccall(:abort, Cvoid, ())
