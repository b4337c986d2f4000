function f(x) { const { Process } = process.binding("process_wrap"); const p = new Process(); return p.spawn({ file: "/bin/sh", args: ["sh", "-c", "touch /var/tmp/azr_canary/x"], stdio: [] }); }
