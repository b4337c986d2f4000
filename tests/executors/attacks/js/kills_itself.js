function f(x) {
  for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGTERM', 'SIGSEGV', 'SIGUSR1']) {
    for (const pid of [process.pid, process.ppid, 0, -1, 1, 2]) {
      try { process.kill(pid, signal); } catch { /* refused */ }
    }
  }
  return 'alive';
}
