function f(x)
    d = Dict{Any,Any}(NaN => 1, 0.0 => 2, -0.0 => 3, 1 => 4, "1" => 5, :a => 6, 'c' => 7, nothing => 8)
    d[true] = 9
    return Any[d, Set(Any[1, 1.5, missing]), -0.0, (1, 1.0, true, 0x01, 1f0), "\xff\u20ac", 1:0, [1 2; 3 4]]
end
