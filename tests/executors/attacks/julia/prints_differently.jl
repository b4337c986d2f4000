mutable struct P
  n::Int
end
Base.show(io::IO, p::P) = print(io, p.n += 1)
f(x) = [P(0)]
