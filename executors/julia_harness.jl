# Runs Julia programs for the pool; the protocol is at the top of language.py.
#
#   julia julia_harness.jl --once
#   julia julia_harness.jl --serve [--tier=compiled|interpreted|both]
#
# Serving: this process has compiled everything a request needs and forks (raw clone) a child for each request. A child
# runs the program in Main, as `julia FILE` does. What a fork of Julia needs in the child, measured on 1.5.3:
#   - the JIT writes machine code through a descriptor on /proc/self/mem, which in a child still is the parent's
#     memory: it is opened again at the same number;
#   - libuv's epoll descriptor is shared with the parent: a new one takes its number; all others become /dev/null.
# Two tiers: a child first interprets the program (compile_enabled = min, set in the child), because compiling costs more
# than most programs run; when that takes more than FIRST_TIER_S of CPU, or ends in a way that depends on the tier (memory,
# stack, crash), a second child compiles and its outcome counts. `-C generic` in the argv keeps floating-point
# arithmetic the same in both (no fused multiply-add from muladd).
module AzrHarness

include(joinpath(@__DIR__, "julia_values.jl"))
include(joinpath(@__DIR__, "julia_warmup.jl"))
using .AzrValues: canonical, read_value, Unserialisable, TooLong, Forbidden

const STATUSES = ("ok", "syntax_error", "runtime_error", "memory", "output_limit", "forbidden", "unserialisable")
const PROGRAM = "/program.jl"
const FIRST_TIER_S = 0.06
const CLONE_NEWPID, SIGCHLD, SIGKILL = 0x20000000, 17, 9
const SYS_clone = Sys.ARCH === :aarch64 ? 220 : 56
const RLIMIT_CPU, RLIMIT_AS = 0, 9
const PR_SET_DUMPABLE, PR_SET_SECCOMP = 4, 22
const O_RDONLY, O_RDWR, O_CLOEXEC, O_NONBLOCK = 0, 2, 0o2000000, 0o4000
const COMPILE_ON, COMPILE_MIN = Int8(1), Int8(3)
const MAX_FRAME = 64 << 20

struct Limits
    wall_s::Float64
    cpu_s::Float64
    memory_mib::Int
    value_chars::Int
    message_chars::Int
end

"""One request or reply as it lies in a buffer: where each field's bytes are."""
struct Frame
    bytes::Vector{UInt8}
    fields::Vector{UnitRange{Int}}
end

field(frame::Frame, i::Int) = String(frame.bytes[frame.fields[i]])

# ---------------------------------------------------------------- system calls

failed(what) = error("$what: errno $(Libc.errno())")

sys_read(fd, buffer, offset, n) = GC.@preserve buffer ccall(
    :read, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, pointer(buffer) + offset, n)

function wait_readable(fd, timeout_ms)
    # struct pollfd: int fd, short events (POLLIN = 1), short revents
    poll = Ref(UInt64(UInt32(fd)) | UInt64(1) << 32)
    return ccall(:poll, Cint, (Ref{UInt64}, Culong, Cint), poll, 1, timeout_ms) > 0
end

"""Reads exactly n bytes to `offset` of the buffer; false at end of file."""
function read_fully(fd, buffer::Vector{UInt8}, offset::Int, n::Int)
    done = 0
    while done < n
        got = sys_read(fd, buffer, offset + done, n - done)
        if got > 0
            done += got
        elseif got == 0
            return false
        elseif Libc.errno() == Libc.EAGAIN
            wait_readable(fd, -1)
        elseif Libc.errno() != Libc.EINTR
            failed("read")
        end
    end
    return true
end

"""Writes bytes done+1 to stop."""
function write_fully(fd, bytes::Vector{UInt8}, done::Int=0, stop::Int=length(bytes))
    while done < stop
        sent = GC.@preserve bytes ccall(
            :write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, pointer(bytes) + done, stop - done)
        if sent >= 0
            done += sent
        elseif Libc.errno() == Libc.EAGAIN
            ccall(:usleep, Cint, (Cuint,), 1000)
        elseif Libc.errno() != Libc.EINTR
            failed("write")
        end
    end
end

u32(bytes::Vector{UInt8}, at::Int) =
    Int(bytes[at+1]) << 24 | Int(bytes[at+2]) << 16 | Int(bytes[at+3]) << 8 | Int(bytes[at+4])

"""A buffer of at least n bytes with the same content; the old one is wiped when it is given up."""
function grown(buffer::Vector{UInt8}, n::Int)
    n <= length(buffer) && return buffer
    larger = zeros(UInt8, 2 * n)
    copyto!(larger, buffer)
    fill!(buffer, 0x00)
    return larger
end

"""Reads one frame, into `buffer` when it fits; nothing at end of file."""
function read_frame(fd, buffer::Vector{UInt8})
    read_fully(fd, buffer, 0, 4) || return nothing
    count, at = u32(buffer, 0), 4
    fields = UnitRange{Int}[]
    for _ in 1:count
        read_fully(fd, buffer, at, 4) || return nothing
        n = u32(buffer, at)
        at + n + 8 <= MAX_FRAME || error("a frame longer than $MAX_FRAME bytes")
        buffer = grown(buffer, at + n + 8)
        read_fully(fd, buffer, at + 4, n) || return nothing
        push!(fields, at+5:at+4+n)
        at += 4 + n
    end
    return Frame(buffer, fields)
end

function put_u32(io::IOBuffer, n::Int)
    for shift in (24, 16, 8, 0)
        write(io, UInt8(n >> shift & 0xff))
    end
end

function frame_bytes(fields::Vector{String})
    io = IOBuffer()
    put_u32(io, length(fields))
    for text in fields
        put_u32(io, sizeof(text))
        write(io, text)
    end
    return take!(io)
end

reply(status, kind="", message="", values=String[]) = String[status, kind, message, "0", "0", values...]

now_s() = time_ns() / 1e9

# ---------------------------------------------------------------- answering, in a child or in --once

function parse_limits(text::String)
    wall, cpu, memory, value, message = split(text, ' ')
    return Limits(parse(Float64, wall), parse(Float64, cpu), ceil(Int, parse(Float64, memory)), parse(Int, value),
        parse(Int, message))
end

"""The reply to a request, the program loaded into `target` (Main, as `julia FILE` does; the warm-up uses others).

Everything that is called directly from here is of the world from before the program.
"""
function answer(request::Frame, limits::Limits, target::Module)
    inputs = Any[]
    for i in 5:length(request.fields)
        text = field(request, i)
        try
            isvalid(text) || throw(Forbidden("not a value: invalid UTF-8"))
            push!(inputs, read_value(text))
        catch err
            return input_failure(err, limits)
        end
    end
    try
        if field(request, 1) == "value"
            return reply("ok", "", "", String[canonical(x, limits.value_chars) for x in inputs])
        end
        source = field(request, 4)
        syntax = syntax_error(source)
        syntax === nothing || return reply("syntax_error", "ParseError", clip(syntax, limits))
        Base.include_string(target, source, PROGRAM)
        isdefined(target, :f) || return reply("runtime_error", "UndefVarError", "f is not defined")
        values = String[]
        for x in inputs
            push!(values, canonical(Base.invokelatest(getfield(target, :f), x), limits.value_chars))
        end
        return reply("ok", "", "", values)
    catch err
        return failure(err, limits)
    end
end

function clip(text::String, limits::Limits)
    clean = isvalid(text) ? text : repr(first(text, limits.message_chars))
    return first(clean, limits.message_chars)
end

function input_failure(@nospecialize(err), limits::Limits)
    err isa Forbidden && return reply("forbidden", "Forbidden", clip(err.reason, limits))
    err isa Meta.ParseError && return reply("syntax_error", "ParseError", clip("input: " * err.msg, limits))
    return failure(err, limits)
end

"""The message of the source's first syntax error, or nothing."""
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

# Cheap texts of the common errors: Base.showerror costs up to 100 ms of compiling, and prints what the program made.
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

# ---------------------------------------------------------------- hardening

limit!(resource, value) = ccall(:setrlimit, Cint, (Cint, Ref{NTuple{2,UInt64}}), resource,
    Ref((UInt64(value), UInt64(value)))) == 0 || failed("setrlimit")

address_space() = parse(Int, split(read("/proc/self/statm", String), ' ')[1]) * Int(ccall(:getpagesize, Cint, ()))

"""Steps 2 to 4 of language.py: limits, no capabilities, the seccomp filter."""
function harden(limits::Limits, filter::Vector{UInt8})
    limit!(RLIMIT_AS, address_space() + limits.memory_mib << 20)
    limit!(RLIMIT_CPU, ceil(Int, limits.cpu_s) + 1)
    ccall(:capset, Cint, (Ref{NTuple{2,UInt32}}, Ref{NTuple{6,UInt32}}), Ref((0x20080522, 0x00000000)),
        Ref(ntuple(_ -> 0x00000000, 6))) == 0 || failed("capset")
    GC.@preserve filter begin
        program = Ref((UInt64(length(filter) ÷ 8), UInt64(pointer(filter))))
        ccall(:prctl, Cint, (Cint, Culong, Ref{NTuple{2,UInt64}}), PR_SET_SECCOMP, 2, program) == 0 || failed("seccomp")
    end
end

prctl(option, value) = ccall(:prctl, Cint, (Cint, Culong, Culong, Culong, Culong), option, value, 0, 0, 0)

function read_filter()
    path = get(ENV, "AZR_CHILD_FILTER", "")
    isempty(path) && error("AZR_CHILD_FILTER is not set: start this through executors")
    filter = read(path)
    length(filter) >= 8 && length(filter) % 8 == 0 || error("AZR_CHILD_FILTER $path is no seccomp program")
    return filter
end

const RANDOM = Base.loaded_modules[Base.PkgId(Base.UUID("9a3f8284-a2c9-5f02-9a11-845980a1fd5c"), "Random")]
const SEED = RANDOM.seed!
const TIER = Ptr{Int8}(cglobal(:jl_options)) +
    fieldoffset(Base.JLOptions, findfirst(isequal(:compile_enabled), fieldnames(Base.JLOptions)))

# What the program finds as its process: its own file, no arguments, none of the pool's variables.
function prepare_process()
    for name in collect(keys(ENV))
        startswith(name, "AZR_") && delete!(ENV, name)
    end
    empty!(ARGS)
    Core.eval(Base, :(PROGRAM_FILE = $PROGRAM))
end

# compile_enabled is read at each first call of a method; what the harness has compiled stays compiled.
set_tier(tier::Int8) = unsafe_store!(TIER, tier)

# ---------------------------------------------------------------- serving

"""Descriptors of this process that a child replaces: the JIT's memory, libuv's epoll, all others."""
struct Descriptors
    memory::Vector{Int}
    epoll::Vector{Int}
    others::Vector{Int}
end

function find_descriptors()
    found = Descriptors(Int[], Int[], Int[])
    for name in readdir("/proc/self/fd")
        target = try
            readlink("/proc/self/fd/" * name)
        catch err
            err isa Base.IOError || rethrow()
            continue  # the folder's own descriptor
        end
        kind = endswith(target, "/mem") && startswith(target, "/proc/") ? found.memory :
            target == "anon_inode:[eventpoll]" ? found.epoll : found.others
        push!(kind, parse(Int, name))
    end
    length(found.memory) == 1 || error("expected one descriptor on /proc/self/mem, found $(length(found.memory))")
    return found
end

function replace_descriptor(fd::Int, new::Integer)
    new >= 0 || failed("opening descriptor $fd again")
    ccall(:dup3, Cint, (Cint, Cint, Cint), new, fd, O_CLOEXEC) >= 0 || failed("dup3")
    ccall(:close, Cint, (Cint,), new)
end

sys_open(path, flags) = ccall(:open, Cint, (Cstring, Cint), path, flags)

"""The child's first steps: own session, own descriptors."""
function separate(descriptors::Descriptors, pipe_fd::Int)
    ccall(:setsid, Cint, ())
    prctl(PR_SET_DUMPABLE, 1)  # while it is 0, /proc/self/mem belongs to root
    for fd in descriptors.memory
        replace_descriptor(fd, sys_open("/proc/self/mem", O_RDWR))
    end
    prctl(PR_SET_DUMPABLE, 0)
    for fd in descriptors.epoll
        replace_descriptor(fd, ccall(:epoll_create1, Cint, (Cint,), O_CLOEXEC))
    end
    null = sys_open("/dev/null", O_RDWR)
    null >= 0 || failed("open /dev/null")
    for fd in descriptors.others
        fd == pipe_fd || ccall(:dup3, Cint, (Cint, Cint, Cint), null, fd, O_CLOEXEC)
    end
    ccall(:close, Cint, (Cint,), null)
end

"""What a child was seen to do: its frame or nothing, why it was stopped or how it ended, peak memory."""
struct Outcome
    frame::Union{Frame,Nothing}
    status::String
    message::String
    memory_mib::Float64
end

mutable struct Zygote
    filter::Vector{UInt8}
    descriptors::Descriptors
    flags::Int
    request::Vector{UInt8}
    claim::Vector{UInt8}
end

function child_main(zygote::Zygote, request::Frame, limits::Limits, tier::Int8, pipe_fd::Int)
    try
        separate(zygote.descriptors, pipe_fd)
        harden(limits, zygote.filter)
        SEED(parse(UInt64, field(request, 3)))
        set_tier(tier)
        write_fully(pipe_fd, frame_bytes(answer(request, limits, Main)))
        ccall(:_exit, Cvoid, (Cint,), 0)
    catch
        ccall(:_exit, Cvoid, (Cint,), 71)  # EX_OSERR: the reply is missing, the parent says so
    end
end

"""Runs the request in a child of the given tier; returns when the child and all its processes are gone."""
function run_child(zygote::Zygote, request::Frame, limits::Limits, tier::Int8, started_s::Float64, cpu_limit_s::Float64)
    ends = Ref((Cint(0), Cint(0)))
    ccall(:pipe2, Cint, (Ref{NTuple{2,Cint}}, Cint), ends, O_CLOEXEC) == 0 || failed("pipe2")
    from, to = Int(ends[][1]), Int(ends[][2])
    pid = ccall(:syscall, Clong, (Clong, Clong, Clong, Clong, Clong, Clong), SYS_clone, zygote.flags, 0, 0, 0, 0)
    pid >= 0 || failed("clone")
    if pid == 0
        ccall(:close, Cint, (Cint,), from)
        child_main(zygote, request, limits, tier, to)
    end
    ccall(:close, Cint, (Cint,), to)
    frame, stopped = watch(zygote, request, limits, Int(pid), from, started_s, cpu_limit_s)
    ccall(:close, Cint, (Cint,), from)
    ccall(:kill, Cint, (Cint, Cint), pid, SIGKILL)
    wait_status, usage = Ref{Cint}(0), zeros(Int64, 18)
    while ccall(:wait4, Cint, (Cint, Ref{Cint}, Cint, Ptr{Int64}), pid, wait_status, 0, usage) < 0
        Libc.errno() == Libc.EINTR || failed("wait4")
    end
    memory_mib = usage[5] / 1024  # struct rusage: two timevals, then ru_maxrss in KiB
    frame === nothing || return Outcome(frame, "", "", memory_mib)
    isempty(stopped) || return Outcome(nothing, stopped, "", memory_mib)
    signal = wait_status[] & 0x7f
    signal == 0 || return Outcome(nothing, "crash", "signal $signal", memory_mib)
    return Outcome(nothing, "exit", "exit code $(wait_status[] >> 8 & 0xff)", memory_mib)
end

function cpu_seconds(pid::Int)
    clock = Ref((Int64(0), Int64(0)))
    # The clock of a process: see clock_getcpuclockid(3); gone processes have none.
    ccall(:clock_gettime, Cint, (Cint, Ref{NTuple{2,Int64}}), (~pid << 3) | 2, clock) == 0 || return 0.0
    return clock[][1] + clock[][2] / 1e9
end

"""Reads the child's claim until it is whole, the child is gone or a limit is reached: (frame or nothing, reason)."""
function watch(zygote::Zygote, request::Frame, limits::Limits, pid::Int, fd::Int, started_s::Float64, cpu_limit_s::Float64)
    n_values = length(request.fields) - 4
    most = 4 * (limits.value_chars * n_values + limits.message_chars) + 4 * (n_values + 6) + 1024
    zygote.claim = grown(zygote.claim, most)
    got = 0
    while true
        wall_left_s = limits.wall_s - (now_s() - started_s)
        cpu_left_s = cpu_limit_s - cpu_seconds(pid)
        wall_left_s > 0 || return nothing, "timeout"
        cpu_left_s > 0 || return nothing, "cpu"
        # One thread cannot use more CPU than wall time; 50 ms in case the program has made more threads.
        left_s = min(wall_left_s, cpu_left_s > 0.05 ? max(0.05, cpu_left_s / 2) : cpu_left_s)
        wait_readable(fd, ceil(Int, 1000 * left_s)) || continue
        n = sys_read(fd, zygote.claim, got, most - got)
        n < 0 && Libc.errno() == Libc.EINTR && continue
        n <= 0 && return nothing, ""
        got += n
        frame = claimed_frame(zygote.claim, got, n_values, limits)
        frame === nothing || return frame, ""
        got < most || return nothing, "output_limit"
    end
end

"""The frame in the first n bytes, or nothing while it is not whole or when it is not a legal reply."""
function claimed_frame(bytes::Vector{UInt8}, n::Int, n_values::Int, limits::Limits)
    n >= 4 || return nothing
    count, at = u32(bytes, 0), 4
    count == 5 || count == 5 + n_values || return nothing
    fields = UnitRange{Int}[]
    for i in 1:count
        at + 4 <= n || return nothing
        len = u32(bytes, at)
        len <= 4 * (i == 3 ? limits.message_chars : i > 5 ? limits.value_chars : 64) || return nothing
        at + 4 + len <= n || return nothing
        push!(fields, at+5:at+4+len)
        at += 4 + len
    end
    at == n || return nothing
    frame = Frame(bytes, fields)
    status = field(frame, 1)
    status in STATUSES && (status == "ok" ? count == 5 + n_values : count == 5) || return nothing
    return frame
end

"""Whether the second tier may say something else than this outcome of the first."""
function depends_on_tier(outcome::Outcome)
    frame = outcome.frame
    frame === nothing && return outcome.status in ("cpu", "crash", "output_limit")
    return field(frame, 1) == "memory" ||
        field(frame, 1) == "runtime_error" && field(frame, 2) in ("StackOverflowError", "ReadOnlyMemoryError")
end

"""Answers one request and writes the reply to descriptor 3."""
function serve_one(zygote::Zygote, request::Frame, tiers::String)
    started_s = now_s()
    limits = parse_limits(field(request, 2))
    two = tiers == "both" && field(request, 1) != "value"
    first_tier = tiers == "compiled" ? COMPILE_ON : COMPILE_MIN
    first_cpu_s = two ? min(FIRST_TIER_S, limits.cpu_s) : limits.cpu_s
    outcome = run_child(zygote, request, limits, first_tier, started_s, first_cpu_s)
    if two && depends_on_tier(outcome)
        outcome = run_child(zygote, request, limits, COMPILE_ON, started_s, limits.cpu_s)
    end
    seconds = string(round(now_s() - started_s; digits=6))
    memory = string(round(outcome.memory_mib; digits=1))
    frame = outcome.frame
    if frame === nothing
        status = outcome.status == "cpu" ? "timeout" : outcome.status
        return write_fully(3, frame_bytes(String[status, "", outcome.message, seconds, memory]))
    end
    head = frame_bytes(String[field(frame, 1), field(frame, 2), field(frame, 3), seconds, memory])
    head[4] = length(frame.fields)
    write_fully(3, head)
    # The values go out straight from the wiped buffer: as strings they would stay in the heap for later children.
    length(frame.fields) > 5 || return
    write_fully(3, frame.bytes, first(frame.fields[6]) - 5, last(frame.fields[end]))
end

function serve(tiers::String)
    tiers in ("compiled", "interpreted", "both") || error("--tier=$tiers: use compiled, interpreted or both")
    filter, descriptors = read_filter(), find_descriptors()
    prctl(PR_SET_DUMPABLE, 0)
    flags = SIGCHLD | (get(ENV, "AZR_NEW_PID", "1") == "1" ? CLONE_NEWPID : 0)
    zygote = Zygote(filter, descriptors, flags, zeros(UInt8, 1 << 16), zeros(UInt8, 1 << 16))
    ccall(:fcntl, Cint, (Cint, Cint, Cint), 0, 4, O_RDONLY)  # F_SETFL: libuv set O_NONBLOCK
    prepare_process()
    GC.gc()
    write_fully(3, frame_bytes(String["ready"]))
    while true
        request = read_frame(0, zygote.request)
        request === nothing && return
        zygote.request = request.bytes
        serve_one(zygote, request, tiers)
        # Requests and replies hold expected values: no later child may find one in the memory that it inherits.
        fill!(zygote.request, 0x00)
        fill!(zygote.claim, 0x00)
    end
end

function once()
    filter = read_filter()
    prepare_process()
    write_fully(3, frame_bytes(String["ready"]))
    request = read_frame(0, zeros(UInt8, 1 << 16))
    request === nothing && return
    limits = parse_limits(field(request, 2))
    SEED(parse(UInt64, field(request, 3)))
    harden(limits, filter)
    write_fully(3, frame_bytes(answer(request, limits, Main)))
    ccall(:_exit, Cvoid, (Cint,), 0)
end

end

if "--serve" in ARGS
    AzrHarness.warm_up()
    AzrHarness.serve(get(filter(a -> startswith(a, "--tier="), ARGS), 1, "--tier=both")[8:end])
else
    AzrHarness.once()
end
