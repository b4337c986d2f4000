struct Mine <: Exception
  v
end
function f(x)
  try
    throw(Mine(x))
  catch e
    (e.v, [1.5f0], Set([1]), big(3))
  end
end
