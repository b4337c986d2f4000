def f(x)
  Signal.list.each_key { |name| trap(name, "IGNORE") rescue nil }
  begin
    loop { begin; Thread.pass; rescue Exception; end }
  ensure
    loop {}
  end
end
