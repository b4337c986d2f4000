# Compiles, before the first request, what requests will call: this is part of AzrHarness, run once when serving starts.
# Children inherit the machine code, in both tiers. The programs are loaded into modules of their own, never Main.

const WARM_PROGRAMS = (
    ("f(x) = sum(x)", "[1, 2, 3]"),
)

const WARM_VALUES = ("1",)

function warm_request(kind, source, inputs)
    bytes = frame_bytes(String[kind, "5 5 512 4096 500", "1", source, inputs...])
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
        answer(request, parse_limits(field(request, 2)), Module(:Warm))
    end
    for text in WARM_VALUES
        request = warm_request("value", "", [text])
        claim = frame_bytes(answer(request, parse_limits(field(request, 2)), Main))
        claimed_frame(claim, length(claim), 1, parse_limits(field(request, 2)))
    end
    precompile(child_main, (Zygote, Frame, Limits, Int8, Int))
    precompile(serve_one, (Zygote, Frame, String))
    precompile(separate, (Descriptors, Int))
    precompile(harden, (Limits, Vector{UInt8}))
    precompile(set_tier, (Int8,))
    SEED(parse(UInt64, "1"))
    precompile(read_frame, (Int, Vector{UInt8}))
end
