"""Ruby: `ruby`, started afresh for each evaluated program, without RubyGems. Tested with 3.1.2.

Programs are files as `ruby FILE` runs them; f is a method of the main object, called with positional and keyword
arguments. The standard library is available, with those of Ruby's bundled gems that programs use; `set` is
loaded.

Values: nil, booleans, integers of all sizes, floats (`Float::INFINITY`, `Float::NAN` for what has no literal),
rationals and complex numbers, strings in UTF-8 (of other bytes `"...".b`), symbols, arrays, hashes, sets, and ranges of
numbers or strings. The entries of hashes and sets are sorted, since equality ignores their order, and a hash's default
is left out, as `==` ignores it; in an input, where a program sees both, the order stays and a hash with a default is
refused. 1 and 1.0, which are == in Ruby, differ. Other objects and instances of subclasses are not values.
"""

from __future__ import annotations

from pathlib import Path

from executors import canonical, hosted
from executors.language import PLAIN_FLOAT, Forking, Interpreter, Language, installed, output_of

# What the bare interpreter maps.
_OVERHEAD_MIB = 96
_MEMORY_ERRORS = ("failed to allocate memory",)
_FLAGS = ("--disable=gems", "--disable=rubyopt")
# Without RubyGems, whose start takes longer than most programs, these are found by the load path.
_BUNDLED = "%w[matrix prime bigdecimal csv base64 observer abbrev mutex_m getoptlong]"
_FOLDERS = f"""
specs = {_BUNDLED}.map {{ |name| Gem::Specification.find_by_name(name) rescue nil }}.compact.reject(&:default_gem?)
puts specs.flat_map(&:full_require_paths).uniq.join(':')
"""


def find() -> Interpreter | None:
    """`ruby` on PATH, of version 3.0 or later."""
    installation = installed(("ruby",), r"\Aruby ((?:[3-9]|\d\d)\.[.\d]+)")
    if installation is None:
        return None
    folders = output_of(installation[0], "-e", _FOLDERS).strip()
    return hosted.interpreter(
        (installation[0],), installation[1], environment=[("RUBYLIB", folders)] if folders else []
    )


_ATOM = (
    r'(?:nil|true|false|0|-?[1-9][0-9]{0,400}|"[ !$-\[\]-~]*"'
    rf"|{PLAIN_FLOAT})"
)

# The file's first byte that a waiting interpreter sees is a blank: what means something in the first column stays away.
_FORKED = r"(?!=begin|__END__|#!|\xef\xbb\xbf)"

LANGUAGE = Language(
    name="ruby",
    full_name="Ruby",
    fence="ruby",
    fence_aliases=("rb",),
    comment="#",
    extension=".rb",
    find=find,
    install_hint="install Ruby 3 (tpu_scripts/install_interpreters.sh ruby) so that `ruby` is on PATH",
    harness=Path(__file__).with_name("harness.rb"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [*_FLAGS, harness],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=(),
    ),
    forking=Forking("peek", programs=_FORKED),
    identity="def f(x)\n  x\nend",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="def f(a)\n  a\nend",
    skeleton="def f(first, second)\n  <state that changes step by step>\n  <result>\nend",
    skeleton_input="<first>, <second>",
    definition=r"^def\s+NAME(?=[\s(;]|$)",
    canonical_program=canonical.folder("ruby", line_ends=True, spaces=True),
    serves=True,
    once=False,
    # The parser's messages do not name their kind.
    syntax_errors=(
        "syntax error",
        "(SyntaxError)",
        "meets end of file",
        "dynamic constant assignment",
        "invalid multibyte char",
        "in method body",
        "argument name",
    ),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    benchmark_suffix="rb",
    plain_value=rf"{_ATOM}|\[(?:{_ATOM}(?:, {_ATOM})*)?\]",
)
