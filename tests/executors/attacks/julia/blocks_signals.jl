function f(x)
  set = fill(typemax(UInt64), 16)
  ccall(:sigprocmask, Cint, (Cint, Ptr{UInt64}, Ptr{Cvoid}), 0, set, C_NULL)
  while true
  end
end
