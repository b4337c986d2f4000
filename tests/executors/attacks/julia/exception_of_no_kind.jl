f(x) = throw(ErrorException("x"^(10^7)))
