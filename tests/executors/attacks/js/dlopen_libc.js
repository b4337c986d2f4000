function f(x) { process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libc.so.6"); return 1; }
