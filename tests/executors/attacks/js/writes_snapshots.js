// Ways of Node's own to write files, none of them called "write".
const attempts = {
  heap: () => require('v8').writeHeapSnapshot('/var/tmp/azr_canary/heap'),
  near: () => require('v8').setHeapSnapshotNearHeapLimit(1) && undefined,
  report: () => process.report.writeReport('/var/tmp/azr_canary/report'),
  trace: () => require('trace_events').createTracing({ categories: ['v8'] }).enable() ?? 'traced',
  copy: () => require('fs').copyFileSync('/proc/self/maps', '/var/tmp/azr_canary/copy') ?? 'copied',
  times: () => require('fs').utimesSync(process.execPath, 0, 0) ?? 'changed',
  mode: () => require('fs').fchmodSync(require('fs').openSync(process.execPath), 0o777) ?? 'changed',
  priority: () => require('os').setPriority(19) ?? 'changed',
  watch: () => require('fs').watch('/') && 'watched',
  coverage: () => require('v8').takeCoverage() ?? 'covered',
};
function f(x) {
  const done = [];
  for (const [name, attempt] of Object.entries(attempts)) {
    try {
      if (attempt() !== undefined && name !== 'report') done.push(name);
    } catch { /* refused */ }
  }
  return done.filter((name) => !['trace', 'coverage', 'priority'].includes(name)).length
    + (require('fs').existsSync('/var/tmp/azr_canary/heap') ? 1 : 0);
}
