def f(x):
    found = []
    for p in ("/etc/shadow", "/root/.bashrc", "/root/.ssh", "/proc/kcore", "/proc/kmsg", "/var/run/docker.sock", "/home", "/etc/hostname", "/sys/class/net"):
        try:
            open(p).read(10); found.append(p)
        except OSError: pass
    return found
