function f(x)
  while true
    p = Libc.malloc(1 << 24)
    p == C_NULL && error("none left")
    ccall(:memset, Ptr{Cvoid}, (Ptr{Cvoid}, Cint, Csize_t), p, 1, 1 << 24)
  end
end
