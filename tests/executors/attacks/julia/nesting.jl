function f(x)
  a = Any[]
  for _ in 1:10^5
    a = Any[a]
  end
  a
end
