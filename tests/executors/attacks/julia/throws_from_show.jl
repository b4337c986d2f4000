struct Loud <: Exception end
Base.showerror(io::IO, ::Loud) = while true end
Base.show(io::IO, ::Loud) = while true end
Base.show(io::IO, ::Type{Loud}) = while true end
f(x) = throw(Loud())
