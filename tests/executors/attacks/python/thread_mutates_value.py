import threading
a = list(range(1000))
def churn():
    while True:
        a.append(object()); a.pop(); a.reverse()
def f(x):
    threading.Thread(target=churn, daemon=True).start()
    return a
