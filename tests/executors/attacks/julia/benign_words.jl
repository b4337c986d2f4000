function f(x)
  counts = Dict{String,Int}()
  for w in split(x)
    counts[w] = get(counts, w, 0) + 1
  end
  sort(collect(counts))
end
