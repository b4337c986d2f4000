require 'socket'
def f(x)
  [-> { TCPSocket.new("127.0.0.1", 18999) }, -> { UDPSocket.new.send("x", 0, "127.0.0.1", 18999) }, -> { TCPServer.new(0) }]
    .count { |way| way.call rescue false }
end
