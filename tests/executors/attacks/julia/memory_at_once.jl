f(x) = zeros(2^36)
