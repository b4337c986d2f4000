import threading, time
threading.stack_size(1 << 15)
def f(x):
    while True: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
