def f(x)
  4.times { Thread.new { loop { $stdout.write("x"); x += 1 } } }
  7
end
