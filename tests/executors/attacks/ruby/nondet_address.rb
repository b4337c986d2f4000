def f(x) = Object.new.inspect
