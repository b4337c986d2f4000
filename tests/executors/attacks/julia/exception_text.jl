struct E <: Exception end
Base.showerror(io::IO, ::E) = while true; end
Base.show(io::IO, ::E) = while true; end
f(x) = throw(E())
