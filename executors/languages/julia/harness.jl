# Runs Julia programs for the pool; the protocol is at the top of language.py.
#
#   julia harness.jl --once
#   julia harness.jl --serve [--tier=both|compiled|interpreted|cold]
#
# Serving: this process has compiled everything a request needs and forks (raw clone) a child for each request. A child
# runs the program in Main, as `julia FILE` does. What a fork of Julia needs in the child, measured on 1.5.3:
#   - the JIT writes machine code through a descriptor on /proc/self/mem, which in a child is still the parent's
#     memory: it is opened again at the same number;
#   - libuv's epoll descriptor is shared with the parent: a new one takes its number; all others become /dev/null.
# Two tiers: a child first interprets the program (compile_enabled = min, set in the child), because compiling takes
# longer than most programs run; if that takes more than FIRST_TIER_S of CPU, or ends in a way that depends on the tier
# (memory, stack, crash), a second child compiles and its outcome counts. `--cpu-target=generic` in the argv keeps
# floating-point arithmetic the same in both (no fused multiply-add from muladd).
# Where a fork cannot work (no descriptor on /proc/self/mem, as under Landlock, or a trial that fails, as with another
# version of Julia) a fresh `--once` process answers each request instead: correct but slower.
module AzrHarness

# compile_enabled among Julia's options is read at each first call of a method; what is compiled stays compiled.
const TIER = Ptr{Int8}(cglobal(:jl_options)) +
    fieldoffset(Base.JLOptions, findfirst(isequal(:compile_enabled), fieldnames(Base.JLOptions)))
const COMPILE_ON, COMPILE_MIN = Int8(1), Int8(3)
set_tier(tier::Int8) = unsafe_store!(TIER, tier)
set_tier(COMPILE_MIN)  # --once answers one request: compiling this file would take a second

include(joinpath(@__DIR__, "values.jl"))
include(joinpath(@__DIR__, "system.jl"))
include(joinpath(@__DIR__, "answer.jl"))
include(joinpath(@__DIR__, "warmup.jl"))
using .AzrValues: canonical, canonical_arguments, evaluate_arguments, read_arguments, read_value, Unserialisable,
    TooLong, Forbidden

const STATUSES = ("ok", "syntax_error", "runtime_error", "memory", "output_limit", "forbidden", "unserialisable")
const PROGRAM = "/program.jl"
const HARNESS = @__FILE__
const FIRST_TIER_S = 0.06

# The outcome of a child: its frame or nothing, why it was stopped or how it ended, peak memory.
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
    cold::Bool
end

# When a child must end: by now_s and by its CPU clock.
struct Deadline
    wall_s::Float64
    cpu_s::Float64
end

function child_main(zygote::Zygote, request::Frame, limits::Limits, tier::Int8, pipe_fd::Int)
    try
        separate(zygote.descriptors, pipe_fd)
        harden(limits, zygote.filter)
        SEED(parse(UInt64, field(request, 3)))
        write_fully(pipe_fd, frame_bytes(answer(request, limits, Main, tier)))
        sys_exit(0)
    catch
        sys_exit(71)  # EX_OSERR: the reply is missing, the parent reports it
    end
end

sys_clone(flags::Int) =
    ccall(:syscall, Clong, (Clong, Clong, Clong, Clong, Clong, Clong), SYS_clone, flags, 0, 0, 0, 0)

# Runs the request in a forked child of the given tier; returns when the child and all its processes are gone.
function run_child(zygote::Zygote, request::Frame, limits::Limits, tier::Int8, deadline::Deadline)
    from, to = make_pipe()
    pid = sys_clone(zygote.flags)
    pid >= 0 || failed("clone")
    if pid == 0
        sys_close(from)
        child_main(zygote, request, limits, tier, to)
    end
    sys_close(to)
    frame, stopped = watch(zygote, request, limits, Int(pid), from, deadline)
    sys_close(from)
    return finish(Int(pid), frame, stopped)
end

# A process of this harness with `--once` that waits for its request.
struct Fresh
    pid::Int
    replies::Int
    requests::Int
end

function start_once(zygote::Zygote)
    from, to = make_pipe()
    request_from, request_to = make_pipe()
    command = String[Base.julia_cmd().exec..., "--history-file=no", "--color=no", HARNESS, "--once"]
    argv = Ptr{UInt8}[map(pointer, command)..., C_NULL]
    pid = GC.@preserve command argv sys_clone(zygote.flags)
    pid >= 0 || failed("clone")
    if pid == 0
        GC.@preserve command argv exec_once(argv, request_from, to)
    end
    sys_close(to)
    sys_close(request_from)
    return Fresh(Int(pid), from, request_to)
end

# Runs the request in the given fresh process.
function run_cold(zygote::Zygote, fresh::Fresh, request::Frame, limits::Limits)
    frame, stopped = nothing, ""
    if read_frame(fresh.replies, zeros(UInt8, 64)) !== nothing  # ready
        deadline = Deadline(now_s() + limits.wall_s, cpu_seconds(fresh.pid) + limits.cpu_s)
        if write_fully(fresh.requests, request.bytes, 0, last(request.fields[end]))
            frame, stopped = watch(zygote, request, limits, fresh.pid, fresh.replies, deadline)
        end
    end
    sys_close(fresh.requests)
    sys_close(fresh.replies)
    return finish(fresh.pid, frame, stopped)
end

function exec_once(argv::Vector{Ptr{UInt8}}, request_fd::Int, reply_fd::Int)
    ccall(:setsid, Cint, ())
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    ccall(:dup2, Cint, (Cint, Cint), request_fd, 0)
    ccall(:dup2, Cint, (Cint, Cint), reply_fd, 3)
    ccall(:execv, Cint, (Ptr{UInt8}, Ptr{Ptr{UInt8}}), argv[1], argv)
    sys_exit(71)
end

# Ends a child, with all processes that it may have started, and returns its outcome.
function finish(pid::Int, frame::Union{Frame,Nothing}, stopped::String)
    ccall(:kill, Cint, (Cint, Cint), pid, SIGKILL)
    wait_status, usage = Ref{Cint}(0), zeros(Int64, 18)
    while ccall(:wait4, Cint, (Cint, Ref{Cint}, Cint, Ptr{Int64}), pid, wait_status, 0, usage) < 0
        Libc.errno() == Libc.EINTR || failed("wait4")
    end
    memory_mib = peak_memory_mib(usage)
    frame === nothing || return Outcome(frame, "", "", memory_mib)
    isempty(stopped) || return Outcome(nothing, stopped, "", memory_mib)
    signal = wait_status[] & 0x7f
    signal == 0 || return Outcome(nothing, "crash", "signal $signal", memory_mib)
    return Outcome(nothing, "exit", "exit code $(wait_status[] >> 8 & 0xff)", memory_mib)
end

# Reads the child's claim until it is whole, the child is gone or a limit is reached: (frame or nothing, reason).
function watch(zygote::Zygote, request::Frame, limits::Limits, pid::Int, fd::Int, deadline::Deadline)
    n_values = length(request.fields) - 4
    most = 4 * (limits.value_chars * n_values + limits.message_chars) + 4 * (n_values + 6) + 1024
    zygote.claim = grown(zygote.claim, most)
    got = 0
    while true
        wall_left_s = deadline.wall_s - now_s()
        cpu_left_s = deadline.cpu_s - cpu_seconds(pid)
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

# The frame in the first n bytes, or nothing if it is incomplete or no legal reply.
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
    any(status -> is_field(frame, 1, status), STATUSES) || return nothing
    return count == (is_field(frame, 1, "ok") ? 5 + n_values : 5) ? frame : nothing
end

# Whether the second tier may have another outcome than this one of the first.
function depends_on_tier(outcome::Outcome)
    frame = outcome.frame
    frame === nothing && return outcome.status in ("cpu", "crash", "output_limit")
    is_field(frame, 1, "memory") && return true
    is_field(frame, 1, "runtime_error") || return false
    return is_field(frame, 2, "StackOverflowError") || is_field(frame, 2, "ReadOnlyMemoryError")
end

# Runs the request in as many tiers as it takes.
function outcome_of(zygote::Zygote, request::Frame, limits::Limits, tiers::String, fresh::Union{Fresh,Nothing})
    fresh === nothing || return run_cold(zygote, fresh, request, limits)
    last_s = now_s() + limits.wall_s
    two = tiers == "both" && field(request, 1) in ("evaluate", "expressions")
    first_tier = tiers == "compiled" ? COMPILE_ON : COMPILE_MIN
    first_cpu_s = two ? min(FIRST_TIER_S, limits.cpu_s) : limits.cpu_s
    outcome = run_child(zygote, request, limits, first_tier, Deadline(last_s, first_cpu_s))
    two && depends_on_tier(outcome) || return outcome
    return run_child(zygote, request, limits, COMPILE_ON, Deadline(last_s, limits.cpu_s))
end

# Answers one request and writes the reply to descriptor 3.
function serve_one(zygote::Zygote, request::Frame, tiers::String, fresh::Union{Fresh,Nothing})
    started_s = now_s()
    outcome = outcome_of(zygote, request, parse_limits(field(request, 2)), tiers, fresh)
    seconds = string(round(now_s() - started_s; digits=6))
    memory = string(round(outcome.memory_mib; digits=1))
    frame = outcome.frame
    if frame === nothing
        status = outcome.status == "cpu" ? "timeout" : outcome.status
        return write_fully(3, frame_bytes(String[status, "", outcome.message, seconds, memory]))
    end
    # A program's claim is written directly from the buffer, which is wiped.
    write_fully(3, frame_bytes(String[], length(frame.fields)))
    write_fully(3, frame.bytes, 4, last(frame.fields[3]))
    write_fully(3, frame_bytes(String[seconds, memory]), 4)
    length(frame.fields) > 5 && write_fully(3, frame.bytes, first(frame.fields[6]) - 5, last(frame.fields[end]))
end

# Requests and replies hold expected values: no later child may inherit one in its memory.
function wiped(buffer::Vector{UInt8})
    fill!(buffer, 0x00)
    return length(buffer) <= 1 << 20 ? buffer : zeros(UInt8, 1 << 16)
end

# Whether a forked child answers.
function fork_works(zygote::Zygote)
    length(zygote.descriptors.memory) == 1 || return false
    request = warm_request("evaluate", "trial(x) = x + 1\nf(x) = trial(x)", ["41"])
    limits = Limits(10.0, 10.0, 512, 100, 100)
    for tier in (COMPILE_MIN, COMPILE_ON)
        outcome = run_child(zygote, request, limits, tier, Deadline(now_s() + limits.wall_s, limits.cpu_s))
        frame = outcome.frame
        frame !== nothing && field(frame, 1) == "ok" && field(frame, 6) == "42" || return false
    end
    return true
end

function serve(tiers::String)
    tiers in ("both", "compiled", "interpreted", "cold") ||
        error("--tier=$tiers: use both, compiled, interpreted or cold")
    flags = SIGCHLD | (get(ENV, "AZR_NEW_PID", "1") == "1" ? CLONE_NEWPID : 0)
    zygote = Zygote(read_filter(), find_descriptors(), flags, zeros(UInt8, 1 << 16), zeros(UInt8, 1 << 16), true)
    prctl(PR_SET_DUMPABLE, 0)
    ccall(:fcntl, Cint, (Cint, Cint, Cint), 0, 4, O_RDONLY)  # F_SETFL: libuv set O_NONBLOCK
    if tiers != "cold" && length(zygote.descriptors.memory) == 1
        set_tier(COMPILE_ON)
        warm_up()
        GC.gc()
        zygote.descriptors = find_descriptors()  # those opened since
        use_huge_pages()
        zygote.cold = !fork_works(zygote)
    end
    zygote.cold || prepare_process()
    write_fully(3, frame_bytes(String["ready"]))
    while true
        # Started before there is a request, so that no request's time includes its start-up.
        fresh = zygote.cold ? start_once(zygote) : nothing
        request = read_frame(0, zygote.request)
        request === nothing && return
        zygote.request = request.bytes
        serve_one(zygote, request, tiers, fresh)
        zygote.request, zygote.claim = wiped(zygote.request), wiped(zygote.claim)
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
    started_s = now_s()
    fields = answer(request, limits, Main, COMPILE_ON)
    fields[4] = string(round(now_s() - started_s; digits=6))
    fields[5] = string(round(peak_memory_mib(own_usage()); digits=1))
    write_fully(3, frame_bytes(fields))
    sys_exit(0)
end

end

if "--serve" in ARGS
    AzrHarness.serve(get(filter(a -> startswith(a, "--tier="), ARGS), 1, "--tier=both")[8:end])
else
    AzrHarness.once()
end
