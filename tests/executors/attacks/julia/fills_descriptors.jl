function f(x)
  a = []
  try
    while true
      push!(a, open("/dev/null"))
    end
  catch
    return 7
  end
end
