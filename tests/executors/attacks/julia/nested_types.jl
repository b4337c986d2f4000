struct T{A} end
function f(x)
    S = Int
    for _ in 1:2000
        S = Vector{S}
    end
    return S[]
end
