# fork { exec "rm -rf /" }
def f(x) = ["fork", "exit!", "system", :abort]
