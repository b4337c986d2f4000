import os, sys
def f(x):
    return [os.environ.get("LEFT"), [d for d in ("/tmp", "/var/tmp", "/dev/shm", "/run") if os.path.exists(d + "/left")], len(sys.argv), os.getppid()]
