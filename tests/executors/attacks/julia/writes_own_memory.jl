f(x) = open("/proc/self/mem", "r+") do io; seek(io, 4096); write(io, 1); end
