# Frames, system calls, limits, descriptors, memory: part of AzrHarness, see harness.jl.

const CLONE_NEWPID, SIGCHLD, SIGKILL = 0x20000000, 17, 9
const SYS_clone = Sys.ARCH === :aarch64 ? 220 : 56
const RLIMIT_CPU, RLIMIT_AS = 0, 9
const PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
const O_RDONLY, O_RDWR, O_CLOEXEC = 0, 2, 0o2000000
const MAX_FRAME = 64 << 20

struct Limits
    wall_s::Float64
    cpu_s::Float64
    memory_mib::Int
    value_chars::Int
    message_chars::Int
end

# One request or reply in a buffer, with the span of each field's bytes.
struct Frame
    bytes::Vector{UInt8}
    fields::Vector{UnitRange{Int}}
end

field(frame::Frame, i::Int) = String(frame.bytes[frame.fields[i]])

function parse_limits(text::String)
    wall, cpu, memory, value, message = split(text, ' ')
    return Limits(parse(Float64, wall), parse(Float64, cpu), ceil(Int, parse(Float64, memory)), parse(Int, value),
        parse(Int, message))
end

# ---------------------------------------------------------------- system calls

failed(what) = error("$what: errno $(Libc.errno())")

# A function with a ccall is always compiled, with everything it calls: in --once that would cost two seconds, so each
# ccall has its own small function.
sys_read(fd, buffer, offset, n) = GC.@preserve buffer ccall(
    :read, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, pointer(buffer) + offset, n)

sys_write(fd, bytes, offset, n) = GC.@preserve bytes ccall(
    :write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, pointer(bytes) + offset, n)

sys_exit(code::Int) = ccall(:_exit, Cvoid, (Cint,), code)

sys_usleep(microseconds::Int) = ccall(:usleep, Cint, (Cuint,), microseconds)

function wait_readable(fd, timeout_ms)
    # struct pollfd: int fd, short events (POLLIN = 1), short revents
    poll = Ref(UInt64(UInt32(fd)) | UInt64(1) << 32)
    return ccall(:poll, Cint, (Ref{UInt64}, Culong, Cint), poll, 1, timeout_ms) > 0
end

# Reads exactly n bytes to `offset` of the buffer; false at end of file.
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

# Writes bytes done+1 to stop; false if the reader has gone.
function write_fully(fd, bytes::Vector{UInt8}, done::Int=0, stop::Int=length(bytes))
    while done < stop
        sent = sys_write(fd, bytes, done, stop - done)
        if sent >= 0
            done += sent
        elseif Libc.errno() == Libc.EAGAIN
            sys_usleep(1000)
        elseif Libc.errno() == Libc.EPIPE
            return false
        elseif Libc.errno() != Libc.EINTR
            failed("write")
        end
    end
    return true
end

u32(bytes::Vector{UInt8}, at::Int) =
    Int(bytes[at+1]) << 24 | Int(bytes[at+2]) << 16 | Int(bytes[at+3]) << 8 | Int(bytes[at+4])

# A buffer of at least n bytes with the same content; if it is a new one, the old one is wiped.
function grown(buffer::Vector{UInt8}, n::Int)
    n <= length(buffer) && return buffer
    larger = zeros(UInt8, 2 * n)
    copyto!(larger, buffer)
    fill!(buffer, 0x00)
    return larger
end

# Reads one frame, into `buffer` if it fits; nothing at end of file.
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

# Whether a field is `text`. A claim's fields never become strings: those would stay in the heap for later children.
function is_field(frame::Frame, i::Int, text::String)
    span = frame.fields[i]
    length(span) == sizeof(text) || return false
    for k in 1:length(span)
        frame.bytes[span[k]] == codeunit(text, k) || return false
    end
    return true
end

function put_u32(io::IOBuffer, n::Int)
    for shift in (24, 16, 8, 0)
        write(io, UInt8(n >> shift & 0xff))
    end
end

# A frame of `fields`, or the start of one of `count` fields.
function frame_bytes(fields::Vector{String}, count::Int=length(fields))
    io = IOBuffer()
    put_u32(io, count)
    for text in fields
        put_u32(io, sizeof(text))
        write(io, text)
    end
    return take!(io)
end

reply(status, kind="", message="", values=String[]) = String[status, kind, message, "0", "0", values...]

now_s() = time_ns() / 1e9

# ---------------------------------------------------------------- hardening

sys_setrlimit(resource::Int, value::UInt64) =
    ccall(:setrlimit, Cint, (Cint, Ref{NTuple{2,UInt64}}), resource, Ref((value, value)))

sys_capset_none() = ccall(:capset, Cint, (Ref{NTuple{2,UInt32}}, Ref{NTuple{6,UInt32}}),
    Ref((0x20080522, 0x00000000)), Ref(ntuple(_ -> 0x00000000, 6)))

sys_seccomp(filter::Vector{UInt8}) = GC.@preserve filter ccall(
    :prctl, Cint, (Cint, Culong, Ref{NTuple{2,UInt64}}),
    PR_SET_SECCOMP, 2, Ref((UInt64(length(filter) ÷ 8), UInt64(pointer(filter)))))

page_size() = Int(ccall(:getpagesize, Cint, ()))

own_cpu_seconds() = ccall(:clock, Clong, ()) / 1e6

address_space() = parse(Int, split(read("/proc/self/statm", String), ' ')[1]) * page_size()

# Steps 2 to 4 of language.py: limits, no capabilities, the seccomp filter.
function harden(limits::Limits, filter::Vector{UInt8})
    sys_setrlimit(RLIMIT_AS, UInt64(address_space() + limits.memory_mib << 20)) == 0 || failed("setrlimit")
    # A forked child's clock starts at 0; in --once it includes start-up.
    sys_setrlimit(RLIMIT_CPU, UInt64(ceil(Int, own_cpu_seconds() + limits.cpu_s) + 1)) == 0 || failed("setrlimit")
    sys_capset_none() == 0 || failed("capset")
    sys_seccomp(filter) == 0 || failed("seccomp")
end

prctl(option, value) = ccall(:prctl, Cint, (Cint, Culong, Culong, Culong, Culong), option, value, 0, 0, 0)

function read_filter()
    path = get(ENV, "AZR_CHILD_FILTER", "")
    isempty(path) && error("AZR_CHILD_FILTER is not set: start this through executors")
    filter = read(path)
    length(filter) >= 8 && length(filter) % 8 == 0 || error("AZR_CHILD_FILTER $path is not a seccomp program")
    return filter
end

const RANDOM = Base.loaded_modules[Base.PkgId(Base.UUID("9a3f8284-a2c9-5f02-9a11-845980a1fd5c"), "Random")]
const SEED = RANDOM.seed!

# The process as the program sees it: its own file, no arguments, none of the pool's variables.
function prepare_process()
    for name in collect(keys(ENV))
        startswith(name, "AZR_") && delete!(ENV, name)
    end
    empty!(ARGS)
    Core.eval(Base, :(PROGRAM_FILE = $PROGRAM))
end

# ---------------------------------------------------------------- descriptors

# Descriptors of this process that a child opens anew, so that none is shared with the server and later children: the
# JIT's memory, libuv's epoll, devices of random bytes. All others become /dev/null.
struct Descriptors
    memory::Vector{Int}
    epoll::Vector{Int}
    random::Vector{Int}
end

const MAX_DESCRIPTORS = 256

function find_descriptors()
    descriptors = Descriptors(Int[], Int[], Int[])
    for name in readdir("/proc/self/fd")
        target = try
            readlink("/proc/self/fd/" * name)
        catch err
            err isa Base.IOError || rethrow()
            continue  # the folder's own descriptor
        end
        fd = parse(Int, name)
        endswith(target, "/mem") && startswith(target, "/proc/") && push!(descriptors.memory, fd)
        target == "anon_inode:[eventpoll]" && push!(descriptors.epoll, fd)
        target in ("/dev/urandom", "/dev/random") && push!(descriptors.random, fd)
    end
    return descriptors
end

function replace_descriptor(fd::Int, new::Integer)
    new >= 0 || failed("opening descriptor $fd again")
    ccall(:dup3, Cint, (Cint, Cint, Cint), new, fd, O_CLOEXEC) >= 0 || failed("dup3")
    ccall(:close, Cint, (Cint,), new)
end

is_open(fd::Int) = ccall(:fcntl, Cint, (Cint, Cint), fd, 1) >= 0  # F_GETFD

sys_close(fd::Int) = ccall(:close, Cint, (Cint,), fd)

# The read end and the write end of a new pipe.
function make_pipe()
    ends = Ref((Cint(0), Cint(0)))
    ccall(:pipe2, Cint, (Ref{NTuple{2,Cint}}, Cint), ends, O_CLOEXEC) == 0 || failed("pipe2")
    return Int(ends[][1]), Int(ends[][2])
end

sys_open(path, flags) = ccall(:open, Cint, (Cstring, Cint), path, flags)

# The child's first steps: a new session and separate descriptors.
function separate(descriptors::Descriptors, pipe_fd::Int)
    ccall(:setsid, Cint, ())
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    prctl(PR_SET_DUMPABLE, 1)  # while it is 0, /proc/self/mem belongs to root
    for fd in descriptors.memory
        replace_descriptor(fd, sys_open("/proc/self/mem", O_RDWR))
    end
    prctl(PR_SET_DUMPABLE, 0)
    for fd in descriptors.epoll
        replace_descriptor(fd, ccall(:epoll_create1, Cint, (Cint,), O_CLOEXEC))
    end
    for fd in descriptors.random
        replace_descriptor(fd, sys_open("/dev/urandom", O_RDONLY))
    end
    null = sys_open("/dev/null", O_RDWR)
    null >= 0 || failed("open /dev/null")
    for fd in 0:MAX_DESCRIPTORS-1
        kept = fd == pipe_fd || fd in descriptors.memory || fd in descriptors.epoll || fd in descriptors.random
        !kept && is_open(fd) && ccall(:dup3, Cint, (Cint, Cint, Cint), null, fd, O_CLOEXEC)
    end
    ccall(:close, Cint, (Cint,), null)
end

function own_usage()
    usage = zeros(Int64, 18)
    ccall(:getrusage, Cint, (Cint, Ptr{Int64}), 0, usage)
    return usage
end

peak_memory_mib(usage::Vector{Int64}) = usage[5] / 1024  # struct rusage: two timevals, then ru_maxrss in KiB

function cpu_seconds(pid::Int)
    clock = Ref((Int64(0), Int64(0)))
    # The clock of a process: see clock_getcpuclockid(3); gone processes have none.
    ccall(:clock_gettime, Cint, (Cint, Ref{NTuple{2,Int64}}), (~pid << 3) | 2, clock) == 0 || return 0.0
    return clock[][1] + clock[][2] / 1e9
end

# ---------------------------------------------------------------- memory that is cheap to fork

const HUGE = 2 << 20
const PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS = 3, 0x22
const MREMAP_MAYMOVE_FIXED, MADV_HUGEPAGE, MADV_COLLAPSE = 3, 14, 25

sys_madvise(from::Int, size::Int, advice) = ccall(:madvise, Cint, (Int, Csize_t, Cint), from, size, advice)

# Moves this process' data to huge pages, if the kernel has any.
#
# A fork copies page tables: for the 40,000 small pages of a started Julia, copying and releasing them took 10 of the
# 17 ms of CPU of a small request. The system image's data is a private file mapping, which can't become huge in place:
# it is copied to anonymous memory that then takes its address.
function use_huge_pages()
    moved, collapsed = Tuple{Int,Int}[], Tuple{Int,Int}[]
    for line in split(read("/proc/self/maps", String), '\n')
        parts = split(line)
        length(parts) >= 5 && parts[2] == "rw-p" || continue
        from, to = (parse(Int, edge; base=16) for edge in split(parts[1], '-'))
        to - from >= 2 * HUGE || continue
        if parts[5] != "0"
            push!(moved, (from, to - from))
        elseif length(parts) == 5 || parts[6] == "[heap]"
            push!(collapsed, (from, to - from))
        end
    end
    move_mapping(0, 0)  # compiles it and binds its calls: nothing may write to the data while it is copied
    for (from, size) in moved
        move_mapping(from, size)
    end
    for (from, size) in collapsed
        sys_madvise(from, size, MADV_HUGEPAGE)
        sys_madvise(from, size, MADV_COLLAPSE)  # Linux 6.1; refused by older ones, which is no loss
    end
end

function move_mapping(from::Int, size::Int)
    room = size + 2 * HUGE
    start = ccall(:mmap, Int, (Int, Csize_t, Cint, Cint, Cint, Int),
        0, room, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
    start == -1 && return nothing
    # The same offset within a huge page, or moving would split the pages.
    copy = start + mod(from - start, HUGE)
    sys_madvise(start, room, MADV_HUGEPAGE)
    ccall(:memcpy, Ptr{Cvoid}, (Int, Int, Csize_t), copy, from, size)
    taken = ccall(:mremap, Int, (Int, Csize_t, Csize_t, Cint, Int), copy, size, size, MREMAP_MAYMOVE_FIXED, from)
    taken == from || ccall(:munmap, Cint, (Int, Csize_t), copy, size)
    copy > start && ccall(:munmap, Cint, (Int, Csize_t), start, copy - start)
    ccall(:munmap, Cint, (Int, Csize_t), copy + size, start + room - copy - size)
    return nothing
end
