f(x) = NamedTuple{(Symbol("a b"), Symbol("; exit()"))}((1, 2))
