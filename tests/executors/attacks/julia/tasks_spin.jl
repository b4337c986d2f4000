function f(x)
  for _ in 1:4
    @async while true
      yield()
    end
  end
  7
end
