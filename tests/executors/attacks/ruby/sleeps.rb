def f(x)
  sleep
end
