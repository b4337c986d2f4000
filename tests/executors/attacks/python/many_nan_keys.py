def f(x):
    return {float("nan"): number for number in range(5)}
