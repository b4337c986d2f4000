function f(x)
  d = Dict{Any,Any}()
  d[1] = (d,)
  d
end
