def f(x)
  loop { $stdout.write("x" * 100_000); warn "x" * 100_000 }
end
