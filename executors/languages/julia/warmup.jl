# Compiles, before the first request, what requests will call: this is part of AzrHarness, run once when serving starts.
# Children inherit the machine code, in both tiers, of this harness and of the methods of Base that usual programs call.
# The programs are loaded into separate modules, never Main.

const WARM_PROGRAMS = (
    ("""
    function f(x)
        d = Dict{Int,Int}()
        for v in x
            d[v] = get(d, v, 0) + 1
        end
        s = Set(x)
        y = sort(unique(x))
        z = sort(x, rev=true)
        push!(y, 3); pop!(y); append!(y, [1]); pushfirst!(y, 2); popfirst!(y); insert!(y, 1, 5); deleteat!(y, 1)
        a = (sum(x), prod(x), maximum(x), minimum(x), length(s), 3 in x, 2 in s, haskey(d, 1), cumsum(x), extrema(x))
        b = (reverse(x), x .+ 1, x .* 2, x .^ 2, x .+ x, x .- x, x .* x, x[2:end], vcat(x, x), collect(1:3), accumulate(+, x))
        c = (any(isodd, x), all(iseven, x), count(isodd, x), filter(isodd, x), map(abs, x), findall(isodd, x), sum(abs, x),
            argmax(x), findfirst(isodd, x), reduce(+, x), foldl(-, x), zip(x, x) |> collect, enumerate(x) |> collect)
        e = (sort(collect(keys(d))), sort(collect(values(d))), sort(collect(d)), [union(x, x), intersect(x, x), setdiff(x, [1])])
        return (d, s, y, z, a, b, c, e, div(7, 2), mod(7, 2), gcd(12, 18), digits(123), abs(-3), max(1, 2), min(1, 2))
    end
    """, "[3, 1, 2, 1]"),
    ("""
    function f(s)
        d = Dict{Char,Int}()
        for c in s
            d[c] = get(d, c, 0) + 1
        end
        w = split(s, " ")
        w2 = split(s)
        e = Dict{String,Int}()
        for v in w
            e[v] = get(e, String(v), 0) + length(v)
        end
        chars = collect(s)
        r = ""
        for c in reverse(s)
            r *= c
            r = string(r, c)
        end
        a = (join(w, "-"), join(reverse(w), " "), uppercase(s), lowercase(s), replace(s, "a" => "b"), strip(s), string(1, "a"))
        b = (occursin("a", s), startswith(s, "a"), endswith(s, "b"), reverse(s), repeat("ab", 2), s[1:2], s[1], s * "x", s == reverse(s))
        c = (String(chars), join(chars), sort(chars), unique(chars), join(sort(chars)), isletter('a'), isdigit('1'), isuppercase('A'),
            join([1, 2], ","), parse(Int, "12"), string(12), "\$(12) \$(s)", length(s), Int('a'), Char(98), 'a' + 1, titlecase(s))
        g = (sort(collect(keys(d))), filter(isletter, s), count(isletter, s), map(uppercase, s), sort(w), sort(String.(w)), Set(chars),
            join(map(string, [1, 2])), lpad("1", 3), findfirst("a", s), collect(d), chars[end:-1:1], ["a", "b"], eachindex(s) |> collect)
        return (d, e, w, w2, r, a, b, c, g)
    end
    """, "\"ab ba c\""),
    ("""
    function f(x)
        m = zeros(Int, 2, 2)
        for i in 1:2, j in 1:2
            m[i, j] = i * j
        end
        v = Float64[1, 2, 3]
        t = Vector{Int}[]
        push!(t, [1, 2])
        q = Any[1, "a"]
        push!(q, 2.5)
        stack = Tuple{Int,Int}[]
        push!(stack, (1, 2))
        pop!(stack)
        a = (sum(v), maximum(v), v .+ 1, v .* 2.0, sqrt(2.0), round(2.567, digits=2), round(Int, 2.5), floor(Int, 2.5), ceil(Int, 2.5), v ./ 2)
        b = (m * m, m', m + m, sum(m), size(m), m[1, :], fill(0, 3), zeros(3), ones(2), falses(2), trues(2), zeros(Int, 3), sum(v) / length(v))
        c = (x^2, 2.0^x, x / 2, big(x)^30, x // 3, string(x), isodd(x), bitstring(5), 5 & 3, 5 | 3, xor(5, 3), 1 << 3, factorial(5))
        return (m, v, t, q, stack, a, b, c, [(1, 2)], Dict("a" => [1]), Dict("a" => 1), (a=1, b=2), "a" => 1, nothing, [1, nothing])
    end
    """, "3"),
    ("f(x, y, z=1; k=2) = x + y + z + k", "1, 2; k = 3"),
    ("f(x, y) = (x, y)", "[1, 2], \"a\""),
    ("f(x, y, z) = (x, y, z)", "1, 2.5, true"),
    ("f(x) = undefined_name(x)", "1"),
    ("f(x) = x + \"a\"", "1"),
    ("f(x) = error(\"no\")", "[1.5, 2.5]"),
    ("f(x) = x[10]", "[1]"),
    ("f(x) = x[:a]", "Dict(:a => 1)"),
    ("f(x) = ((", "1"),
)

const WARM_VALUES = ("-1", "1.5", "true", "[1, 2]", "[1.0, 2.0]", "[true, false]", "\"a\"", "'a'", ":a", "(1, \"a\", 2.5)", "nothing",
    "[\"a\", \"b\"]", "[[1], [2, 3]]", "[(1, 2)]", "[1 2; 3 4]", "Dict(\"a\" => 1, \"b\" => 2)", "Dict(1 => \"a\")",
    "Dict(\"a\" => [1])", "Dict('a' => 1)", "Dict(:a => 1)", "Set([1, 2])", "Set([\"a\"])", "Any[1, \"a\"]", "Int64[]", "1:3",
    "(a = 1, b = 2)", "1 => 2", "big(5)", "1//2", "1 + 2im", "Dict(1 => 2)", "String[]", "Any[]", "Dict{String, Any}()",
    "[1, 2.5]", "[1, \"a\"]", "[nothing, 1]", "['a']", "Int8(1)", "Dict{String, Any}(\"a\" => 1)", "[\"a\" => 1]", "[[\"a\"]]")

function warm_request(kind, source, inputs)
    bytes = frame_bytes(String[kind, "5 5 512 100000 500", "1", source, inputs...])
    fields, at = UnitRange{Int}[], 4
    for _ in 1:4+length(inputs)
        n = u32(bytes, at)
        push!(fields, at+5:at+4+n)
        at += 4 + n
    end
    return Frame(bytes, fields)
end

function warm_up()
    for (source, input) in WARM_PROGRAMS
        request = warm_request("evaluate", source, [input])
        answer(request, parse_limits(field(request, 2)), Module(:Warm), COMPILE_ON, COMPILE_ON)
    end
    for (kind, text) in (("arguments", "1, [2]; k = 1"), ("expressions", "2 + 3, [x for x in 1:3]; k = \"a\" ^ 2"), ("expressions", "f(1)"))
        request = warm_request(kind, "", [text])
        answer(request, parse_limits(field(request, 2)), Module(:Warm), COMPILE_ON, COMPILE_ON)
    end
    for text in WARM_VALUES
        request = warm_request("value", "", [text])
        claim = frame_bytes(answer(request, parse_limits(field(request, 2)), Main, COMPILE_ON, COMPILE_ON))
        claimed_frame(claim, length(claim), 1, parse_limits(field(request, 2)))
    end
    precompile(child_main, (Zygote, Frame, Limits, Int8, Int))
    precompile(serve_one, (Zygote, Frame, String, Nothing))
    precompile(run_child, (Zygote, Frame, Limits, Int8, Deadline))
    precompile(separate, (Descriptors, Int))
    precompile(harden, (Limits, Vector{UInt8}))
    precompile(read_frame, (Int, Vector{UInt8}))
    SEED(parse(UInt64, "1"))
end
