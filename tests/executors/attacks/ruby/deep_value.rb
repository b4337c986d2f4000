def f(x) = (1..100_000).reduce([]) { |inner, _| [inner] }
