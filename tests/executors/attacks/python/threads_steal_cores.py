import threading, zlib
data = bytes(1 << 22)
def burn():
    while True: zlib.compress(data)
def f(x):
    threading.Thread(target=burn, daemon=True).start()
    while True: zlib.compress(data)
