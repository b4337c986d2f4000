(define (f x)
  (regexp-match? #px"^(([a-z])+.)+[A-Z]([a-z])+$" (make-string 64 #\a)))
