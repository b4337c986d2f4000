# Reading values: part of AzrValues, see values.jl.

# The value that `text` writes. Throws Forbidden when it is another expression, Meta.ParseError when it is none.
function read_value(text::String)
    expression = Meta.parse(text)
    # Literal `nothing` parses to a symbol: the object itself means that there was nothing to parse.
    expression === nothing && throw(Meta.ParseError("an empty text is no value"))
    expression isa Expr && expression.head in (:incomplete, :error) &&
        throw(Meta.ParseError("not an expression"))
    return build(expression, 0)
end

# The arguments of a call: positional ones, and keywords with their values.
struct Arguments
    positional::Vector{Any}
    named::Vector{Pair{Symbol,Any}}
end

# The same arguments; `[]...` and `;` write none. Throws Forbidden.
function some_arguments(arguments::Arguments)
    isempty(arguments.positional) && isempty(arguments.named) &&
        throw(Forbidden("no argument list: f needs an argument"))
    return arguments
end

# The expressions of an argument list, the text between the parentheses of a call. Throws as read_value.
function argument_expressions(text::String)
    call = Meta.parse("f(" * text * "\n)")
    # A text such as "1)(2" closes the parenthesis by itself.
    call isa Expr && call.head === :call && call.args[1] === :f || throw(Forbidden("no argument list"))
    return call.args[2:end]
end

# The arguments that `text` writes, every one of them a value.
function read_arguments(text::String)
    arguments = Arguments(Any[], Pair{Symbol,Any}[])
    for x in argument_expressions(text)
        if x isa Expr && x.head === :parameters
            foreach(name -> push_named(arguments, name), x.args)
        elseif x isa Expr && x.head === :kw
            push_named(arguments, x)
        else
            push!(arguments.positional, build(x, 0))
        end
    end
    return some_arguments(arguments)
end

function push_named(arguments::Arguments, @nospecialize(x))
    x isa Expr && x.head === :kw && x.args[1] isa Symbol || forbid("a keyword argument")
    name = x.args[1]::Symbol
    any(pair -> pair.first === name, arguments.named) && forbid("a keyword argument given twice")
    push!(arguments.named, name => build(x.args[2], 0))
end

# What an argument list of any expressions gives when it is evaluated in a module, as a call of f would. Runs code.
function evaluate_arguments(text::String, target::Module)
    positional, named = Core.eval(target, Expr(:call, captured, argument_expressions(text)...))
    return some_arguments(Arguments(Any[positional...], Pair{Symbol,Any}[pair for pair in named]))
end

captured(positional...; named...) = (positional, named)

# Canonical text of arguments, at most `limit` characters. Throws Unserialisable or TooLong.
function canonical_arguments(arguments::Arguments, limit::Int)
    texts = String[canonical(x, limit, true) for x in arguments.positional]
    text = join(texts, ", ")
    if !isempty(arguments.named)
        named = String[string(name) * " = " * canonical(x, limit, true) for (name, x) in arguments.named]
        text *= "; " * join(named, ", ")
    end
    length(text) > limit && throw(TooLong())
    return text
end

forbid(what) = throw(Forbidden("not a value: " * first(string(what), 80)))

function build(@nospecialize(x), depth::Int)
    depth > 2 * MAX_DEPTH && throw(Forbidden("nested too deep"))
    x isa Union{Number,String,Char} && return x
    x isa QuoteNode && x.value isa Symbol && return x.value
    x isa Symbol && return haskey(CONSTANTS, x) ? CONSTANTS[x] : named_type(x)
    x isa Expr || forbid(typeof(x))
    head, args = x.head, x.args
    if head === :call
        return build_call(args, depth + 1)
    elseif head === :vect
        return vector_of(build_all(args, depth + 1))
    elseif head === :tuple
        return build_tuple(args, depth + 1)
    elseif head === :ref
        return typed_vector(build_type(args[1], depth + 1), build_all(args[2:end], depth + 1))
    elseif head === :hcat || head === :vcat
        return build_matrix(nothing, head, args, depth + 1)
    elseif head === :typed_hcat || head === :typed_vcat
        untyped = head === :typed_hcat ? :hcat : :vcat
        return build_matrix(build_type(args[1], depth + 1), untyped, args[2:end], depth + 1)
    elseif head === :curly
        return build_type(x, depth + 1)
    elseif head === :macrocall
        return build_literal_macro(args)
    elseif head === :block && count(a -> !(a isa LineNumberNode), args) == 1
        return build(args[end], depth + 1)
    end
    forbid("a $head expression")
end

build_all(args, depth::Int) = Any[build(a, depth) for a in args]

function named_type(name::Symbol)
    T = get(NAMED_TYPES, name, nothing)
    T === nothing && (T = get(ALIASES, name, nothing))
    T === nothing && forbid("the name $name")
    return T
end

function build_type(@nospecialize(x), depth::Int)
    depth > MAX_DEPTH && throw(Forbidden("nested too deep"))
    x isa Symbol && return named_type(x)
    x isa Expr && x.head === :curly || forbid("a computed type")
    parameters = Any[
        a isa Int ? a :
        a isa Expr && a.head === :tuple && all(s -> s isa QuoteNode, a.args) ? Tuple(s.value for s in a.args) :
        build_type(a, depth + 1) for a in x.args[2:end]]
    try
        return Core.apply_type(named_type(x.args[1]), parameters...)
    catch err
        err isa Union{TypeError,ErrorException,ArgumentError} || rethrow()
        forbid("a type with wrong parameters")
    end
end

function build_literal_macro(args)
    name = args[1] isa GlobalRef ? args[1].name : args[1]
    length(args) == 3 && args[3] isa String || forbid("a macro call")
    text = args[3]
    name === Symbol("@int128_str") && return parse(Int128, replace(text, "_" => ""))
    name === Symbol("@uint128_str") && return parse(UInt128, replace(text, "_" => ""))
    name === Symbol("@raw_str") && return text
    if name === Symbol("@big_str")
        digits = replace(text, "_" => "")
        number = tryparse(BigInt, digits)
        number === nothing && (number = tryparse(BigFloat, digits))
        number === nothing || return number
    end
    forbid("a macro call")
end

function build_tuple(args, depth::Int)
    length(args) == 1 && args[1] isa Expr && args[1].head === :parameters && (args = args[1].args)
    named = count(a -> a isa Expr && a.head in (:(=), :kw), args)
    named == 0 && return Tuple(build_all(args, depth))
    named == length(args) && all(a -> a.args[1] isa Symbol, args) || forbid("a tuple with some names")
    names = Tuple(a.args[1]::Symbol for a in args)
    allunique(names) || forbid("a named tuple with a name twice")
    return NamedTuple{names}(Tuple(build(a.args[2], depth) for a in args))
end

# Element types as `[a, b]` gives them: the promoted type when there is one.
function vector_of(items::Vector{Any})
    isempty(items) && return Any[]
    T = typeof(items[1])
    for x in items
        typeof(x) === T || (T = promote_type(T, typeof(x)))
    end
    return typed_vector(T, items)
end

function typed_vector(@nospecialize(T), items::Vector{Any})
    T isa Type || forbid("an element type that is no type")
    vector = Vector{T}(undef, length(items))
    for i in 1:length(items)
        x = items[i]
        vector[i] = x isa T ? x : converted(T, x)
    end
    return vector
end

function converted(@nospecialize(T), @nospecialize(x))
    try
        return convert(T, x)
    catch err
        err isa Union{MethodError,InexactError,ArgumentError,TypeError,OverflowError} || rethrow()
        forbid("a $(typeof(x)) as an element of type $T")
    end
end

function build_matrix(@nospecialize(T), head::Symbol, args, depth::Int)
    rows = head === :hcat ? Any[args] : Any[a isa Expr && a.head === :row ? a.args : Any[a] for a in args]
    items = Any[build(a, depth) for row in rows for a in row]
    any(x -> x isa AbstractArray, items) && forbid("a concatenation of arrays")
    width = length(rows[1])
    all(row -> length(row) == width, rows) || forbid("a matrix with rows of unequal length")
    flat = T === nothing ? vector_of(items) : typed_vector(T, items)
    head === :vcat && width == 1 && !any(a -> a isa Expr && a.head === :row, args) && return flat
    return permutedims(reshape(flat, width, length(rows)))
end

const IN_NUMBERS = Dict{Symbol,Any}(:+ => +, :- => -, :* => *, :(//) => //)
const NUMBER_TYPES = Union{Bool,Int8,Int16,Int32,Int64,Int128,UInt8,UInt16,UInt32,UInt64,UInt128,Float16,Float32,
    Float64,BigInt,BigFloat}

function build_call(args, depth::Int)
    f = args[1]
    items = build_all(args[2:end], depth)
    n = length(items)
    try
        if f isa Symbol && haskey(IN_NUMBERS, f)
            return in_a_number(f, items) ? IN_NUMBERS[f](items...) : forbid("arithmetic")
        elseif f === :(=>) && n == 2
            return items[1] => items[2]
        elseif f === :(:) && (n == 2 || n == 3) && all(x -> x isa Union{Real,Char}, items)
            return n == 2 ? (items[1]:items[2]) : (items[1]:items[2]:items[3])
        elseif f isa Symbol && haskey(CONSTRUCTORS, f)
            return CONSTRUCTORS[f](items)
        elseif f isa Symbol || (f isa Expr && f.head === :curly)
            return construct(build_type(f, depth), items)
        end
    catch err
        err isa Forbidden && rethrow()
        err isa Union{MethodError,InexactError,ArgumentError,TypeError,OverflowError,DomainError,DivideError,
            DimensionMismatch,BoundsError} || rethrow()
        forbid("$f with these arguments")
    end
    forbid("a call")
end

# Signs, and the operators in rational and complex numbers.
function in_a_number(f::Symbol, items::Vector{Any})
    length(items) == 1 && return items[1] isa Number && (f === :+ || f === :-)
    length(items) == 2 || return false
    a, b = items
    f === :(//) && return a isa Integer && b isa Integer
    f === :* && return a isa Real && b === im
    return (f === :+ || f === :-) && a isa Real && b isa Complex
end

bounded(n) = n isa Integer && 0 <= n <= MAX_BUILT ? Int(n) : forbid("so many elements")
function shape_of(items)
    dims = length(items) == 1 && items[1] isa Tuple ? items[1] : Tuple(items)
    all(d -> d isa Integer && 0 <= d <= MAX_BUILT, dims) || forbid("these dimensions")
    bounded(reduce(*, map(Int, dims); init=1))
    return map(Int, dims)
end
function filled(x, items)
    typed = !isempty(items) && items[1] isa Type
    T = typed ? items[1] : Float64
    return fill(converted(T, x), shape_of(typed ? items[2:end] : items))
end
one_of(items) = length(items) == 1 ? items[1] : forbid("a constructor with $(length(items)) arguments")
countable(x) = x isa Union{AbstractRange,Array,Set,Dict,Tuple,String} && (bounded(length(x)); true)

const CONSTRUCTORS = Dict{Symbol,Any}(
    :big => items -> big(one_of(items)::Union{Integer,AbstractFloat}),
    :complex => items -> complex(items...),
    :Complex => items -> all(x -> x isa Real, items) ? Complex(items...) : forbid("this complex number"),
    :Symbol => items -> Symbol(one_of(items)::String),
    :collect => items -> countable(items[1]) ? collect(one_of(items)) : forbid("a collection of this"),
    :zeros => items -> filled(0, items),
    :ones => items -> filled(1, items),
    :fill => items -> fill(items[1], shape_of(items[2:end])),
    :trues => items -> trues(shape_of(items)),
    :falses => items -> falses(shape_of(items)),
    :reshape => items -> items[1] isa Array ? reshape(items[1], shape_of(items[2:end])) : forbid("a reshaped value"),
    :tuple => items -> Tuple(items),
    :CartesianIndex => items -> CartesianIndex(Tuple(items)),
)

function construct(@nospecialize(T), items::Vector{Any})
    T isa Type || forbid("a call")
    n, name = length(items), Base.unwrap_unionall(T) isa DataType ? Base.unwrap_unionall(T).name : nothing
    if T <: NUMBER_TYPES && isconcretetype(T) && n == 1
        x = items[1]
        x isa Number && return T(x)
        x isa Char && T <: Integer && return T(x)
        x isa String && T in (BigInt, BigFloat) && return parse(T, x)
    elseif name === DICT
        return construct_dict(T, items)
    elseif name === SET
        n == 0 && return T()
        x = one_of(items)
        countable(x) && return T(x isa Tuple ? vector_of(Any[x...]) : x)
    elseif name === ARRAY
        return construct_array(T, items)
    elseif name === PAIR && n == 2
        return T(items[1], items[2])
    elseif (name === RATIONAL || name === COMPLEX) && 1 <= n <= 2 && all(x -> x isa Number, items)
        return T(items...)
    elseif T === Char && n == 1 && items[1] isa Integer
        return Char(items[1])
    elseif T === String && n == 1 && items[1] isa String || T === Symbol && n == 1 && items[1] isa String
        return T(items[1])
    elseif name === NAMED_TUPLE && n == 0
        return NamedTuple()
    elseif name === TUPLE && n == 0
        return ()
    elseif T === Nothing && n == 0 || T === Missing && n == 0
        return T()
    elseif (T === BitVector || name === BIT_ARRAY) && n == 1 && items[1] isa Array
        return T(items[1])
    elseif name === SUBSTRING && n == 1 && items[1] isa String
        return SubString(items[1])
    end
    forbid("a call of $T with these arguments")
end

function construct_dict(@nospecialize(T), items::Vector{Any})
    length(items) == 1 && items[1] isa Vector && (items = Any[items[1]...])
    items = Any[x isa Tuple && length(x) == 2 ? x[1] => x[2] : x for x in items]
    all(x -> x isa Pair, items) || forbid("a Dict of other things than pairs")
    T === Dict || (d = T(); foreach(p -> d[p.first] = p.second, items); return d)
    isempty(items) && return Dict()
    P = typeof(items[1])
    if all(x -> typeof(x) === P, items)
        d = Dict{P.parameters[1],P.parameters[2]}()
        foreach(p -> d[p.first] = p.second, items)
        return d
    end
    return Dict(Pair[items...])
end

function construct_array(@nospecialize(T), items::Vector{Any})
    E = T isa UnionAll ? nothing : eltype(T)
    if E !== nothing && ndims(T) == 1
        isempty(items) && return T()
        length(items) == 1 && items[1] isa Array{<:Any,1} && return typed_vector(E, Any[items[1]...])
    end
    # Arrays with undefined elements are not values, but an empty one is.
    if E !== nothing && !isempty(items) && items[1] === undef && length(items) - 1 == ndims(T) && 0 in items[2:end]
        return T(undef, shape_of(items[2:end])...)
    end
    length(items) == 1 && items[1] isa AbstractArray && T isa UnionAll && countable(items[1]) && return T(items[1])
    forbid("this array")
end
