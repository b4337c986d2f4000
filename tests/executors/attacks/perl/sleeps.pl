sub f { sleep 60 while 1 }
