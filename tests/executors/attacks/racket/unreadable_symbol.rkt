(define (f x)
  (list 'a (string->unreadable-symbol "a")))
