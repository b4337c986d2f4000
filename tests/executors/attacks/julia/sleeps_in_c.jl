f(x) = while true; ccall(:sleep, Cuint, (Cuint,), 1000); end
