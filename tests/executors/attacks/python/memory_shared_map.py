import mmap
kept = []
def f(x):
    while True:
        m = mmap.mmap(-1, 1 << 24)
        m.write(b"x" * (1 << 24)); kept.append(m)
