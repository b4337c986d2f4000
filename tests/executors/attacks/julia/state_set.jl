ENV["LEFT"] = "1"
Base.eval(Base, :(left() = 1))
Base.:(+)(a::Int, b::Int) = 42
push!(LOAD_PATH, "/left")
f(x) = 1
