exit!(0)
def f(x) = 7
