function f(x)
  a = Any[1]
  for _ in 1:60
    a = Any[a, a]
  end
  a
end
