class Slow < StandardError
  def message = loop {}
end
def f(x) = raise(Slow)
