setprecision(BigFloat, 64)
f(x) = (big(5), BigFloat(1) / 3)
