using Sockets
f(x) = (listen(18998); "listening")
