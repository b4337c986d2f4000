# A type for each: compiling is the work.
f(x) = Any[ntuple(i -> i, n) for n in 1:2000]
