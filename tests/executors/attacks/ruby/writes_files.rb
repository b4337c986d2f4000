def f(x)
  ["/var/tmp/azr_canary/left", "/tmp/left", "left", "/dev/shm/left"].count do |path|
    File.write(path, "left")
  rescue SystemCallError
    false
  end
end
