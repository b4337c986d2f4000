def f(x) = (1..60).reduce(1) { |inner, _| [inner, inner] }
