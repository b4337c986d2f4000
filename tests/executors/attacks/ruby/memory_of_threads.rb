def f(x)
  100_000.times.map { Thread.new { sleep } }.size
end
