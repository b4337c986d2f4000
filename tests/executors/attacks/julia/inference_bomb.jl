g(::Val{N}) where {N} = g(Val(N + 1))
f(x) = g(Val(1))
