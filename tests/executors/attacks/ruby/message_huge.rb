class Odd < StandardError
  def message = "\xff" * 10_000_000
  def self.name = "x" * 10_000_000
end
def f(x) = raise(Odd)
