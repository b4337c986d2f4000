for (const s of ["SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU"]) try { process.on(s, () => {}); } catch (e) {}
function f(x) { for (;;) try { for (;;); } catch (e) {} }
