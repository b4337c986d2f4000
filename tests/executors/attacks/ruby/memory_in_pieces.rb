def f(x)
  kept = {}
  i = 0
  loop { kept[i += 1] = "x" * 1000 }
end
