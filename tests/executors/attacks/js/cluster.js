function f(x) { require("cluster").fork(); return 7; }
