function f(x)
  p = ccall(:dlsym, Ptr{UInt8}, (Ptr{Cvoid}, Cstring), C_NULL, "write")
  for i in 1:64
    unsafe_store!(p, 0xcc, i)
  end
  7
end
