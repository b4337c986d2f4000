# Without naming a signal or a file to write: priorities, cores, a descriptor's owner, modes of files that are read only.
# Numbers of x86-64.
function f(x)
    room = zeros(UInt8, 64)
    room[1] = 1
    at = pointer(room)
    file = ccall(:open, Cint, (Cstring, Cint), "/proc/self/maps", 0)
    call(n, a, b, c) = ccall(:syscall, Clong, (Clong, Clong, Clong, Clong), n, a, b, c)
    p = Int(at)
    attempts = [(91, file, 0o777, 0), (93, file, 0, 0), (72, file, 8, 1), (72, file, 10, 9), (72, file, 1031, 4096),
        (141, 0, 1, 19), (141, 2, 0, 19), (203, 1, 8, p), (144, 1, 5, p), (16, file, 0x40086602, p), (206, 65536, p, 0),
        (62, 1, 9, 0), (62, -1, 9, 0), (56, 17, 0, 0), (57, 0, 0, 0), (435, p, 88, 0), (157, 1, 0, 0), (310, 1, p, 1)]
    return Int[first(a) for a in attempts if call(a...) >= 0]
end
