def f(x)
  loop_of_many = {}
  loop_of_many[[loop_of_many]] = loop_of_many
end
