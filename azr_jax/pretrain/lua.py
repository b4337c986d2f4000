"""The generator's programs in Lua, for problem sets alone: azr-tiny's pretraining text has no Lua.

Lua has no expressions for most list operations, so a step is one expression or some lines that make a local.
"""

from __future__ import annotations

from collections.abc import Sequence

# By operation: an expression of {x}, or lines whose result is in {y}. {a}, {b}, {c} are constants.
_EXPRESSIONS = {
    "add": "{x} + {a}",
    "sub": "{x} - {a}",
    "mul": "{x} * {a}",
    "from": "{a} - {x}",
    "max": "math.max({x}, {a})",
    "min": "math.min({x}, {a})",
    "mod": "{x} % {a}",
    "div": "{x} // {a}",
    "branch": "{x} > {a} and {x} + {b} or {x} - {c}",
    "pair": "{{{x}, {x} + {a}}}",
    "rest": "{{table.unpack({x}, 2)}}",
    "cons": "{{{a}, table.unpack({x})}}",
    "length": "#{x}",
    "largest": "math.max(table.unpack({x}))",
    "smallest": "math.min(table.unpack({x}))",
    "first": "{x}[1]",
    "last": "{x}[#{x}]",
}
_LINES = {
    "reverse": ("local {y} = {{}}", "for i = #{x}, 1, -1 do {y}[#{y} + 1] = {x}[i] end"),
    "sort": ("local {y} = {{table.unpack({x})}}", "table.sort({y})"),
    "map_add": ("local {y} = {{}}", "for i, v in ipairs({x}) do {y}[i] = v + {a} end"),
    "map_mul": ("local {y} = {{}}", "for i, v in ipairs({x}) do {y}[i] = v * {a} end"),
    "above": ("local {y} = {{}}", "for i, v in ipairs({x}) do if v > {a} then {y}[#{y} + 1] = v end end"),
    "push": ("local {y} = {{table.unpack({x})}}", "{y}[#{y} + 1] = {a}"),
    "sum": ("local {y} = 0", "for i, v in ipairs({x}) do {y} = {y} + v end"),
}


def source(steps: Sequence[tuple[str, Sequence[int]]], name: str) -> str:
    """A program's text, its entry function called `name`, from (operation, constants) of each step.

    Raises:
      KeyError: an operation that has no Lua text.
    """
    lines, argument = [], "x"
    for position, (operation, constants) in enumerate(steps):
        last = position == len(steps) - 1
        names = dict(zip("abc", constants, strict=False)) | {"x": argument, "y": "pqr"[position]}
        if operation in _LINES:
            lines += [line.format(**names) for line in _LINES[operation]]
            argument = "pqr"[position]
            if last:
                lines.append(f"return {argument}")
        else:
            expression = _EXPRESSIONS[operation].format(**names)
            argument = "pqr"[position]
            lines.append(f"return {expression}" if last else f"local {argument} = {expression}")
    return f"function {name}(x)\n" + "".join(f"  {line}\n" for line in lines) + "end"


def literal(items: Sequence[int]) -> str:
    """A list as the executor prints it."""
    return "{" + ", ".join(map(str, items)) + "}"
