# Answering one request, in a child or in --once: part of AzrHarness, see harness.jl.

# The reply to a request, the program loaded into `target` (Main, as `julia FILE` does; the warm-up uses others).
#
# Everything called directly from here belongs to the world before the program. Only the program itself runs in the
# given tier: compiling the rest of this file is not worth it for one request (`own_tier`).
function answer(request::Frame, limits::Limits, target::Module, tier::Int8, own_tier::Int8=COMPILE_MIN)
    set_tier(own_tier)
    inputs, kind = Any[], field(request, 1)
    for i in 5:length(request.fields)
        text = field(request, i)
        try
            isvalid(text) || throw(Forbidden("not a value: invalid UTF-8"))
            push!(inputs, kind == "value" ? read_value(text) :
                kind == "expressions" ? evaluated(text, target, tier, own_tier) : read_arguments(text))
        catch err
            return input_failure(err, limits)
        end
    end
    try
        if kind == "value"
            return reply("ok", "", "", String[canonical(x, limits.value_chars) for x in inputs])
        elseif kind != "evaluate"
            return reply("ok", "", "", String[canonical_arguments(x, limits.value_chars) for x in inputs])
        end
        source = field(request, 4)
        syntax = syntax_error(source)
        syntax === nothing || return reply("syntax_error", "ParseError", clip(syntax, limits))
        set_tier(tier)
        Base.include_string(target, source, PROGRAM)
        isdefined(target, :f) || return reply("runtime_error", "UndefVarError", "f is not defined")
        values = String[]
        for x in inputs
            set_tier(tier)
            value = isempty(x.named) ? Base.invokelatest(getfield(target, :f), x.positional...) :
                Base.invokelatest(getfield(target, :f), x.positional...; x.named...)
            set_tier(own_tier)
            push!(values, canonical(value, limits.value_chars))
        end
        return reply("ok", "", "", values)
    catch err
        return failure(err, limits)
    end
end

# An error while an input was evaluated.
struct InputError <: Exception
    error::Any
end

function evaluated(text::String, target::Module, tier::Int8, own_tier::Int8)
    set_tier(tier)
    try
        return evaluate_arguments(text, target)
    catch err
        err isa Union{Forbidden,Meta.ParseError,OutOfMemoryError} && rethrow()
        throw(InputError(err))
    finally
        set_tier(own_tier)
    end
end

function clip(text::String, limits::Limits)
    clean = isvalid(text) ? text : repr(first(text, limits.message_chars))
    return first(clean, limits.message_chars)
end

function input_failure(@nospecialize(err), limits::Limits)
    err isa Forbidden && return reply("forbidden", "Forbidden", clip(err.reason, limits))
    err isa Meta.ParseError && return reply("forbidden", "ParseError", clip("input: " * err.msg, limits))
    err isa InputError || return failure(err, limits)
    what = err.error
    calls = what isa UndefVarError && what.var === :f
    why = calls ? "an input can't call f: it is evaluated before and without the program" : message_of(what)
    return reply("forbidden", type_name(typeof(what)), clip("the input can't be evaluated: " * why, limits))
end

# The message of the source's first syntax error, or nothing.
function syntax_error(source::String)
    isvalid(source) || return "invalid UTF-8"
    parsed = isdefined(Meta, :parseall) ? Meta.parseall(source; filename=PROGRAM) :
        Base.parse_input_line(source; filename=PROGRAM)
    parsed isa Expr || return nothing
    for part in (parsed.head === :toplevel ? parsed.args : Any[parsed])
        if part isa Expr && part.head in (:error, :incomplete)
            return isempty(part.args) ? "syntax error" : string(part.args[1])
        end
    end
    return nothing
end

function failure(@nospecialize(err), limits::Limits)
    while err isa LoadError || err isa InitError
        err = err.error
    end
    err isa Unserialisable && return reply("unserialisable", "Unserialisable", clip(err.reason, limits))
    err isa TooLong && return reply("output_limit", "TooLong", "longer than $(limits.value_chars) characters")
    err isa OutOfMemoryError && return reply("memory", "OutOfMemoryError", "")
    err isa Meta.ParseError && return reply("syntax_error", "ParseError", clip(err.msg, limits))
    if err isa ErrorException && startswith(err.msg, "syntax:")
        return reply("syntax_error", "ParseError", clip(err.msg, limits))
    end
    return reply("runtime_error", String(typeof(err).name.name), clip(message_of(err), limits))
end

# Cheap texts of the common errors: Base.showerror costs up to 100 ms of compiling, and prints the program's values.
function message_of(@nospecialize(err))
    err isa ErrorException && return String(err.msg)
    err isa UndefVarError && return String(err.var) * " is not defined"
    err isa ArgumentError && return err.msg isa String ? err.msg : ""
    err isa AssertionError && return err.msg isa String ? err.msg : ""
    err isa KeyError && return "key " * brief(err.key) * " not found"
    err isa DomainError && return brief(err.val) * (isdefined(err, :msg) && err.msg isa String ? ": " * err.msg : "")
    err isa DivideError && return "integer division error"
    err isa InexactError && return "$(err.func)($(type_name(err.T)), $(brief(err.val)))"
    err isa TypeError && return "in $(err.func), expected $(type_name(err.expected)), got a value of type " *
        type_name(typeof(err.got))
    err isa BoundsError && return isdefined(err, :a) && isdefined(err, :i) ?
        "a " * type_name(typeof(err.a)) * " at index " * brief(err.i) : ""
    if err isa MethodError
        parameters = err.args isa Tuple ? join([type_name(typeof(a)) for a in err.args], ", ::") : ""
        return "no method matching " * function_name(err.f) * "(::" * parameters * ")"
    end
    return ""
end

function function_name(@nospecialize(f))
    f isa Function && return lstrip(String(typeof(f).name.mt.name), '#')
    return f isa Type ? type_name(f) : "a " * type_name(typeof(f))
end

function type_name(@nospecialize(T))
    body = Base.unwrap_unionall(T)
    return body isa DataType ? String(body.name.name) : "Union"
end

function brief(@nospecialize(x))
    try
        return canonical(x, 100)
    catch err
        err isa Union{Unserialisable,TooLong} || rethrow()
        return "a " * type_name(typeof(x))
    end
end
