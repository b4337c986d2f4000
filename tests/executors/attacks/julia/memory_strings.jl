function f(x)
  s = "x"
  while true
    s *= s
  end
end
