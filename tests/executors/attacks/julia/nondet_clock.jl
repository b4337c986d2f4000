f(x) = (time(), rand(UInt64))
