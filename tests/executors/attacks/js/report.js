function f(x) { return JSON.stringify(process.report.getReport()).slice(0, 3000) + JSON.stringify(process.env) + process.execPath + process.argv; }
