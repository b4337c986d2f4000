mutable struct F
  v
end
function f(x)
  finalizer(_ -> (while true end), F(1))
  GC.gc(); GC.gc()
  7
end
