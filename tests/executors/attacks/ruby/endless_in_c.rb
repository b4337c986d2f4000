def f(x) = ("a" * 40).match?(/^(a|a|aa)+$b?\z(?<!a)/) ? 1 : ("a" * 30 + "!").match?(/\A(a+)+\1?\z/)
