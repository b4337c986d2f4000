f(x) = Any[Channel(1), Ref(1), C_NULL, Base, stdout, @task 1]
