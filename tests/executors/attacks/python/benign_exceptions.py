class Mine(Exception):
    pass
def f(x):
    try:
        raise Mine(x)
    except Mine as error:
        return (error.args, [y for y in range(3)], frozenset({1}))
