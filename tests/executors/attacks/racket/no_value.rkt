(define (f x)
  (values))
