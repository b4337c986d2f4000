macro w()
  write("/var/tmp/azr_canary/m", "x")
end
@w
f(x) = 1
