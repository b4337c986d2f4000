def f(x)
  ways = [-> { fork { sleep } }, -> { `id` }, -> { system("id") }, -> { spawn("sleep 60") }, -> { IO.popen("id").read },
          -> { Process.daemon }, -> { open("|id").read }]
  ways.map { |way| way.call rescue nil }.reject(&:nil?)
end
