import sys
sys.set_int_max_str_digits(0)
def f(x):
    return str(10 ** 10_000_000)[:9]
