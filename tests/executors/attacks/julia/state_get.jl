f(x) = (isdefined(Base, :left), haskey(ENV, "LEFT"), 1 + 1, "/left" in LOAD_PATH)
