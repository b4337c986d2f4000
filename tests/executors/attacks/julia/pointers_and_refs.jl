f(x) = Any[Ref(7), Ptr{Int}(7), pointer([7]), Some(7), view([1, 2], 1:1), Iterators.repeated(7), r"7", v"7.0.0"]
