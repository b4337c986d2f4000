while True:
    pass
def f(x):
    return 1
