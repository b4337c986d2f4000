function f(x)
    GC.enable(false)
    n = 0
    while true
        n += length(string(n)^1000)
    end
end
