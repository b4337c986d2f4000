@generated function g(x)
  while true
  end
end
f(x) = g(x)
