def f(x):
    a = []; a.append({"k": ((a,),)})
    return a
