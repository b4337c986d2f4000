function f(x)
  done = String[]
  for (n, g) in ["mkdir" => () -> mkdir("/tmp/d"), "rm" => () -> rm("/azr/harness/harness.jl"), "link" => () -> symlink("/etc", "/var/tmp/azr_canary/l"), "mode" => () -> chmod("/tmp", 0o777), "proc" => () -> write("/proc/self/oom_score_adj", "0")]
    try
      g(); push!(done, n)
    catch
    end
  end
  done
end
