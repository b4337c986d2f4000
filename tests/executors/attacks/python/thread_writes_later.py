import threading, time
def late():
    time.sleep(1)
    open("/var/tmp/azr_canary/late", "w").write("x")
def f(x):
    threading.Thread(target=late).start()
    return 7
