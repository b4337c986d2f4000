import Base: sizeof, length, iterate, getindex, ==, isequal, hash, string, print, repr, write, push!, convert, +, -
length(::Vector{Int}) = 99
sizeof(::String) = 0
==(::Int, ::Int) = true
repr(::Float64) = "42"
print(io::IO, ::String) = nothing
write(io::IOBuffer, ::String) = 0
f(x) = (7, "a", 1.5)
