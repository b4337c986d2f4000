# Values of Julia as text: `canonical(x, limit)` writes one, `read_value(text)` reads one.
#
# The text is what `repr` gives wherever that reads back to the same type, and a fuller form elsewhere:
#   Int8(1), Float32[1.0], Dict{String, Any}("a" => 1), Set{Int64}(), reshape([1, 2], 2, 1), big(5)
# Dict and Set are in the order of their elements' texts. Only values of exactly the built-in types are written; others
# are Unserialisable. Kinds that print and compare alike are written alike: as the array it shows, a view, adjoint,
# BitArray, reshaped range, codeunits, or a range that start:step:stop does not name; an array of views as one of arrays;
# a SubString as its String; and a BigInt past Int64 like an Int128 (digits). Reading interprets the parsed expression
# itself and never evaluates it: literals and constructors of these types; anything else: Forbidden.
#
# Both run in the world age before the program was loaded: its methods for show, ==, length ... do not exist here.
module AzrValues

struct Unserialisable <: Exception
    reason::String
end
struct TooLong <: Exception end
struct Forbidden <: Exception
    reason::String
end

const MAX_DEPTH = 64
const MAX_BUILT = 100_000  # elements that a constructor may make (zeros, collect)

const NAMED_TYPES = Dict{Symbol,Any}(nameof(T) => T for T in (
    Any, Nothing, Missing, Bool, Int8, Int16, Int32, Int64, Int128, UInt8, UInt16, UInt32, UInt64, UInt128, Float16,
    Float32, Float64, BigInt, BigFloat, Char, String, Symbol, SubString, AbstractString, AbstractChar, Number, Real,
    Integer, Signed, Unsigned, AbstractFloat, AbstractIrrational, Tuple, NamedTuple, Array, AbstractArray, Dict,
    AbstractDict, Set, AbstractSet, Pair, Rational, Complex, UnitRange, StepRange, AbstractRange, AbstractUnitRange,
    OrdinalRange, Type, DataType, Function, CartesianIndex))
const ALIASES = Dict{Symbol,Any}(:Int => Int, :UInt => UInt, :Vector => Vector, :Matrix => Matrix, :Union => Union,
    :AbstractVector => AbstractVector, :AbstractMatrix => AbstractMatrix, :ComplexF64 => ComplexF64,
    :ComplexF32 => ComplexF32, :BitVector => BitVector, :BitArray => BitArray, :BitMatrix => BitMatrix, :Vararg => Vararg)
const PLAIN = (Int64, Float64, Char, String, Symbol, Nothing, Missing)  # an array of these needs no element type
const SHORT = (Bool, Int8, Int16, Int32, Int128, UInt8, UInt16, UInt32, UInt64, UInt128, Float16, Float32, BigInt,
    BigFloat)  # an array of these names its element type, and its elements then need no constructor
const CONSTANTS = Dict{Symbol,Any}(:nothing => nothing, :missing => missing, :NaN => NaN, :Inf => Inf,
    :NaN32 => NaN32, :Inf32 => Inf32, :NaN16 => NaN16, :Inf16 => Inf16, :NaN64 => NaN, :Inf64 => Inf, :im => im,
    :pi => pi, :π => π, :ℯ => ℯ, :undef => undef)

# exact: distinguishes kinds that print and compare alike, as arguments need.
mutable struct Emitter
    io::IOBuffer
    limit::Int
    exact::Bool
end

# Canonical text of `x`, at most `limit` characters. Throws Unserialisable or TooLong.
function canonical(@nospecialize(x), limit::Int, exact::Bool=false)
    e = Emitter(IOBuffer(), limit, exact)
    emit(e, x, 0, Any)
    text = String(take!(e.io))
    length(text) > limit && throw(TooLong())
    return text
end

function put(e::Emitter, s::String)
    # A character takes at most four bytes: past this many bytes the text is too long whatever they are.
    position(e.io) + sizeof(s) > 4 * e.limit && throw(TooLong())
    write(e.io, s)
    return nothing
end

name_of(@nospecialize(T)) = T isa DataType ? T.name : nothing
const ARRAY, DICT, SET, PAIR = Base.unwrap_unionall(Array).name, Dict.body.body.name, Set.body.name, Pair.body.body.name
const TUPLE, NAMED_TUPLE = Tuple.name, NamedTuple.body.body.name
const RATIONAL, COMPLEX, SUBSTRING = Rational.body.name, Complex.body.name, SubString.body.name
const UNIT_RANGE, STEP_RANGE = UnitRange.body.name, StepRange.body.body.name
const STEP_RANGE_LEN = Base.unwrap_unionall(StepRangeLen).name
const BIT_ARRAY, SUB_ARRAY = BitArray.body.name, Base.unwrap_unionall(SubArray).name
const CARTESIAN = CartesianIndex.body.name
const ONE_TO = Base.OneTo.body.name
type_name_of(@nospecialize(T)) = Base.unwrap_unionall(T).name
const WITH_PARENT = (SUB_ARRAY, type_name_of(Base.ReshapedArray), type_name_of(Base.ReinterpretArray),
    type_name_of(PermutedDimsArray))
const LIN_RANGE = type_name_of(LinRange)
const CODE_UNITS = type_name_of(Base.CodeUnits)
const LINEAR_ALGEBRA = Base.PkgId(Base.UUID("37e2e46d-f89d-539d-b4ee-838fcccc9c8e"), "LinearAlgebra")
const ADJOINTS = if haskey(Base.loaded_modules, LINEAR_ALGEBRA)
    Tuple(Base.unwrap_unionall(getfield(Base.loaded_modules[LINEAR_ALGEBRA], T)).name for T in (:Adjoint, :Transpose))
else
    ()
end

function emit(e::Emitter, @nospecialize(x), depth::Int, @nospecialize(known))
    depth > MAX_DEPTH && throw(Unserialisable("nested deeper than $MAX_DEPTH levels, or containing itself"))
    T = typeof(x)
    if T === Int64
        put(e, string(x::Int64))
    elseif T === Float64
        put(e, x != x ? "NaN" : repr(x::Float64))
    elseif T === String
        emit_string(e, x::String)
    elseif T === Bool
        put(e, known === Bool ? (x::Bool ? "1" : "0") : (x::Bool ? "true" : "false"))
    elseif T === Char
        put(e, repr(x::Char))
    elseif T === Nothing
        put(e, "nothing")
    elseif T === Missing
        put(e, "missing")
    elseif T === Symbol
        emit_symbol(e, x::Symbol)
    elseif T in SHORT
        emit_number(e, x, known === T)
    elseif x isa Type
        put(e, type_text(x, 0))
    else
        emit_container(e, x, T::DataType, depth + 1, known)
    end
    return nothing
end

function emit_string(e::Emitter, s::String)
    sizeof(s) > 4 * e.limit && throw(TooLong())
    put(e, repr(s))
end

function emit_symbol(e::Emitter, s::Symbol)
    text = String(s)
    sizeof(text) > 4 * e.limit && throw(TooLong())
    # An identifier prints as :name; what would not read back as the symbol alone is spelt Symbol("...").
    plain = occursin(r"^[A-Za-z_][A-Za-z_0-9]*!?$", text) && !(text in ("true", "false"))
    put(e, plain ? ":" * text : "Symbol(" * repr(text) * ")")
end

function emit_number(e::Emitter, @nospecialize(x), short::Bool)
    T = typeof(x)
    if T === BigInt
        y = x::BigInt
        abs(y.size) * 18 > 4 * e.limit && throw(TooLong())
        text = string(y)
        put(e, short || !e.exact && !(typemin(Int64) <= y <= typemax(Int64)) ? text : "big(" * text * ")")
    elseif T === BigFloat
        y = x::BigFloat
        y.prec == 256 || throw(Unserialisable("a BigFloat of another precision than 256 bits"))
        put(e, "BigFloat(\"" * (isnan(y) ? "NaN" : string(y)) * "\")")
    elseif T === Float32
        y = x::Float32
        put(e, isnan(y) ? (short ? "NaN" : "NaN32") : short ? shortest(y) : repr(y))
    elseif T === Float16
        y = x::Float16
        put(e, isnan(y) ? (short ? "NaN" : "NaN16") : isinf(y) && !short ? repr(y) :
            short ? shortest(y) : "Float16(" * shortest(y) * ")")
    elseif T === Int128
        y = x::Int128
        put(e, short || !(typemin(Int64) <= y <= typemax(Int64)) ? string(y) : "Int128(" * string(y) * ")")
    elseif T === Int8
        put(e, short ? string(x::Int8) : "Int8(" * string(x::Int8) * ")")
    elseif T === Int16
        put(e, short ? string(x::Int16) : "Int16(" * string(x::Int16) * ")")
    elseif T === Int32
        put(e, short ? string(x::Int32) : "Int32(" * string(x::Int32) * ")")
    else
        put(e, hexadecimal(x))
    end
end

# print gives the shortest digits that name the number in its own type, without the type's suffix.
shortest(y::Float32) = isfinite(y) ? replace(string(y), 'f' => 'e') : string(y)
shortest(y::Float16) = string(y)

hexadecimal(@nospecialize(x)) = x isa UInt8 ? repr(x::UInt8) : x isa UInt16 ? repr(x::UInt16) :
    x isa UInt32 ? repr(x::UInt32) : x isa UInt64 ? repr(x::UInt64) : repr(x::UInt128)

function emit_container(e::Emitter, @nospecialize(x), T::DataType, depth::Int, @nospecialize(known))
    name = T.name
    if name === ARRAY
        emit_array(e, x, depth)
    elseif name === TUPLE
        emit_tuple(e, x, depth)
    elseif name === DICT
        emit_dict(e, x, T, depth)
    elseif name === PAIR
        plain = known === T || typeof(x.first) === T.parameters[1] && typeof(x.second) === T.parameters[2]
        plain || put(e, type_text(T, 0) * "(")
        emit_pair_side(e, x.first, depth)
        put(e, plain ? " => " : ", ")
        emit_pair_side(e, x.second, depth)
        plain || put(e, ")")
    elseif name === SET
        emit_set(e, x, T, depth)
    elseif name === NAMED_TUPLE
        emit_named_tuple(e, x, T, depth)
    elseif name === SUBSTRING && T.parameters[1] === String
        sizeof(x) > 4 * e.limit && throw(TooLong())
        put(e, e.exact ? "SubString(" * repr(String(x)) * ")" : repr(String(x)))
    elseif name === RATIONAL
        emit(e, x.num, depth, Any)
        put(e, "//")
        emit(e, x.den, depth, Any)
    elseif name === COMPLEX
        emit_complex(e, x, depth)
    elseif is_named_range(x)
        emit_range(e, x, depth)
    elseif name === CARTESIAN
        put(e, "CartesianIndex")
        emit_tuple(e, x.I, depth)
    elseif name === BIT_ARRAY && e.exact
        length(x) > 4 * e.limit && throw(TooLong())
        put(e, "BitArray(")
        emit_array(e, Array(x), depth)
        put(e, ")")
    elseif shows_array(x)
        length(x) > 4 * e.limit && throw(TooLong())
        emit_array(e, Array(x), depth)
    elseif x isa Irrational && x in (π, ℯ)
        put(e, x === π ? "π" : "ℯ")
    else
        throw(Unserialisable("a value of type $(name.name)"))
    end
    return nothing
end

# Whether `x` has an array type of Base that is written as the array it shows; calls no method of the program.
function shows_array(@nospecialize(x))
    name = name_of(typeof(x))
    (name in WITH_PARENT || name in ADJOINTS) && return name_of(typeof(x.parent)) === ARRAY || shows_array(x.parent)
    name === CODE_UNITS && return typeof(x.s) === String
    return name === BIT_ARRAY || is_range(name) && (eltype(x) in PLAIN || eltype(x) in SHORT)
end

is_range(@nospecialize(name)) = name in (UNIT_RANGE, ONE_TO, STEP_RANGE, STEP_RANGE_LEN, LIN_RANGE)

# Whether start:stop or start:step:stop makes the range `x` again.
function is_named_range(@nospecialize(x))
    name = name_of(typeof(x))
    is_range(name) && (eltype(x) in PLAIN || eltype(x) in SHORT) || return false
    name === ONE_TO && return true
    (name === LIN_RANGE || name !== UNIT_RANGE && iszero(step(x))) && return false
    again = name === UNIT_RANGE ? (x.start:x.stop) : (first(x):step(x):last(x))
    # Two big integers are never identical.
    return typeof(again) === typeof(x) && (again === x || eltype(x) === BigInt && again == x)
end

function emit_range(e::Emitter, @nospecialize(r), depth::Int)
    emit(e, first(r), depth, Any)
    put(e, ":")
    if !(r isa AbstractUnitRange)
        emit(e, step(r), depth, Any)
        put(e, ":")
    end
    emit(e, last(r), depth, Any)
end

# a => b => c and (a = 1) need brackets to read back as a side of a pair.
function emit_pair_side(e::Emitter, @nospecialize(x), depth::Int)
    bracket = name_of(typeof(x)) === PAIR || is_named_range(x)
    bracket && put(e, "(")
    emit(e, x, depth, Any)
    bracket && put(e, ")")
end

# Whether the elements' texts show that their type is E.
function evident(@nospecialize(E))
    E isa DataType && isconcretetype(E) || return false
    (E in PLAIN || E in SHORT || E in (DataType, UnitRange{Int64}, StepRange{Int64,Int64})) && return true
    name = E.name
    name in (RATIONAL, COMPLEX) && return E.parameters[1] in PLAIN || E.parameters[1] in SHORT
    name in (TUPLE, PAIR) && return all(evident, E.parameters)
    name === NAMED_TUPLE && return all(evident, E.parameters[2].parameters)
    return name in (ARRAY, DICT, SET, BIT_ARRAY, CARTESIAN)
end

function emit_array(e::Emitter, @nospecialize(a), depth::Int)
    E, n, shape = shown_eltype(eltype(a)), length(a), size(a)
    n > 4 * e.limit && throw(TooLong())
    prefix = n > 0 && evident(E) && !(E in SHORT) ? "" : type_text(E, 0)
    rows = length(shape) == 2 && shape[1] >= 1 && shape[2] >= 2 && (E in PLAIN || E in SHORT) && E !== Symbol
    wrapped = length(shape) != 1 && !rows
    wrapped && put(e, "reshape(")
    put(e, prefix * "[")
    for k in 1:n
        # A matrix is written by rows and stored by columns.
        i = rows ? (r = div(k - 1, shape[2]); (k - 1 - r * shape[2]) * shape[1] + r + 1) : k
        isassigned(a, i) || throw(Unserialisable("an array with undefined elements"))
        k > 1 && put(e, !rows ? ", " : rem(k - 1, shape[2]) == 0 ? "; " : " ")
        emit(e, getindex(a, i), depth, E)
    end
    put(e, "]")
    if wrapped
        for d in shape
            put(e, ", " * string(d))
        end
        isempty(shape) && put(e, ", ()")
        put(e, ")")
    end
end

# The element type as written, for elements that are views and the like.
function shown_eltype(@nospecialize(E))
    E isa DataType && isconcretetype(E) && E <: AbstractArray || return E
    name = E.name
    (name in WITH_PARENT || name in ADJOINTS || name in (BIT_ARRAY, CODE_UNITS)) || return E
    return Array{eltype(E),ndims(E)}
end

function emit_tuple(e::Emitter, @nospecialize(t), depth::Int)
    put(e, "(")
    n = nfields(t)
    for i in 1:n
        i > 1 && put(e, ", ")
        emit(e, getfield(t, i), depth, Any)
    end
    put(e, n == 1 ? ",)" : ")")
end

function emit_named_tuple(e::Emitter, @nospecialize(t), T::DataType, depth::Int)
    names, n = T.parameters[1], nfields(t)
    n == 0 && return put(e, "NamedTuple()")
    put(e, "(")
    for i in 1:n
        typeof(getfield(t, i)) === fieldtype(T, i) || throw(Unserialisable("a named tuple with abstract field types"))
        name = String(names[i]::Symbol)
        occursin(r"^[A-Za-z_][A-Za-z_0-9]*$", name) || throw(Unserialisable("a named tuple with unusual field names"))
        put(e, (i > 1 ? ", " : "") * name * " = ")
        emit(e, getfield(t, i), depth, Any)
    end
    put(e, n == 1 ? ",)" : ")")
end

function emit_complex(e::Emitter, @nospecialize(z), depth::Int)
    simple = typeof(z.re) in (Int64, Float64) && isfinite(z.re) && isfinite(z.im) &&
        !(z.re isa Float64 && (signbit(z.im) && iszero(z.im) || signbit(z.re) && iszero(z.re)))
    if simple
        # 1 - 2im; the bracketless form is `repr`'s, and reads back exactly when no part is -0.0, NaN or infinite.
        negative = signbit(z.im) && z.im != typemin(Int64)
        emit(e, z.re, depth, Any)
        put(e, negative ? " - " : " + ")
        emit(e, negative ? -z.im : z.im, depth, Any)
        put(e, "im")
    else
        put(e, "Complex(")
        emit(e, z.re, depth, Any)
        put(e, ", ")
        emit(e, z.im, depth, Any)
        put(e, ")")
    end
end

# The texts of the elements, sorted: a hash table's order is arbitrary.
function sorted_texts(e::Emitter, items, depth::Int, write_item)
    texts, total = String[], 0
    for item in items
        part = Emitter(IOBuffer(), e.limit, e.exact)
        write_item(part, item)
        text = String(take!(part.io))
        total += sizeof(text)
        total > 4 * e.limit && throw(TooLong())
        push!(texts, text)
    end
    return sort!(texts)
end

function emit_dict(e::Emitter, @nospecialize(d), T::DataType, depth::Int)
    K, V = T.parameters
    put(e, !isempty(d) && evident(K) && evident(V) ? "Dict(" : type_text(T, 0) * "(")
    texts = sorted_texts(e, d, depth, (part, kv) -> begin
        emit_pair_side(part, kv[1], depth)
        put(part, " => ")
        emit_pair_side(part, kv[2], depth)
    end)
    put(e, join(texts, ", ") * ")")
end

function emit_set(e::Emitter, @nospecialize(s), T::DataType, depth::Int)
    E = T.parameters[1]
    isempty(s) && return put(e, type_text(T, 0) * "()")
    texts = sorted_texts(e, s, depth, (part, x) -> emit(part, x, depth, E))
    put(e, "Set(" * (evident(E) && !(E in SHORT) ? "" : type_text(E, 0)) * "[" * join(texts, ", ") * "])")
end

# The name of a built-in type, version-independent; throws Unserialisable for any other type.
function type_text(@nospecialize(T), depth::Int)
    depth > 8 && throw(Unserialisable("a type nested too deep"))
    T === Union{} && return "Union{}"
    if T isa Union
        return "Union{" * join(sort!([type_text(U, depth + 1) for U in Base.uniontypes(T)]), ", ") * "}"
    end
    body = Base.unwrap_unionall(T)
    body isa DataType || throw(Unserialisable("an unusual type"))
    base = String(body.name.name)
    get(NAMED_TYPES, body.name.name, nothing) === nothing && body.name !== BIT_ARRAY &&
        throw(Unserialisable("the type $base"))
    whole = body.name.wrapper
    Base.unwrap_unionall(get(NAMED_TYPES, body.name.name, BitArray)).name === body.name ||
        throw(Unserialisable("the type $base"))
    whole === T && T !== Tuple{} && return base
    parameters = collect(Any, body.parameters)
    if body.name === ARRAY && !(parameters[2] isa TypeVar) && parameters[2] in (1, 2)
        base = parameters[2] == 1 ? "Vector" : "Matrix"
        pop!(parameters)
    end
    while !isempty(parameters) && parameters[end] isa TypeVar
        parameters[end].ub === Any || throw(Unserialisable("a type with a bounded parameter"))
        pop!(parameters)
    end
    any(p -> p isa TypeVar, parameters) && throw(Unserialisable("a type with a free parameter"))
    isempty(parameters) && body.name !== TUPLE && return base
    return base * "{" * join([parameter_text(p, depth) for p in parameters], ", ") * "}"
end

# Vararg{T}, any number of T, as the last of a tuple's types: a type up to Julia 1.6, a separate kind of object since.
if isdefined(Core, :TypeofVararg)
    is_vararg(@nospecialize(p)) = p isa Core.TypeofVararg && isdefined(p, :T) && !isdefined(p, :N)
    vararg_type(@nospecialize(p)) = p.T
else
    is_vararg(@nospecialize(p)) = p isa UnionAll && p.body isa DataType && p.body.name === Vararg.body.body.name &&
        p.body.parameters[2] === p.var
    vararg_type(@nospecialize(p)) = p.body.parameters[1]
end

function parameter_text(@nospecialize(p), depth::Int)
    p isa Int && return string(p)
    is_vararg(p) && return "Vararg{" * type_text(vararg_type(p), depth + 1) * "}"
    p isa Type && return type_text(p, depth + 1)
    if p isa Tuple && all(s -> s isa Symbol, p)
        return "(" * join([":" * String(s) for s in p], ", ") * (length(p) == 1 ? ",)" : ")")
    end
    throw(Unserialisable("an unusual type parameter"))
end

include(joinpath(@__DIR__, "reader.jl"))

end
