import threading
threading.stack_size(1 << 28)
def f(x):
    lock = threading.Lock(); lock.acquire()
    for _ in range(1000): threading.Thread(target=lock.acquire, daemon=True).start()
