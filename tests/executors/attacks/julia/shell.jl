f(x) = run(`touch /var/tmp/azr_canary/x`)
