function f(x)
  for d in 0:255
    ccall(:close, Cint, (Cint,), d)
  end
  7
end
