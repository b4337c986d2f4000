function f(x)
  while true
    p = ccall(:mmap, Ptr{UInt8}, (Ptr{Cvoid}, Csize_t, Cint, Cint, Cint, Int), C_NULL, 1 << 24, 3, 0x21, -1, 0)
    UInt(p) == typemax(UInt) && error("none left")
    ccall(:memset, Ptr{Cvoid}, (Ptr{UInt8}, Cint, Csize_t), p, 1, 1 << 24)
  end
end
