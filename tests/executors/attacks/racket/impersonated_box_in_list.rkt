(define count 0)
(define (f x)
  (list 1 (impersonate-box (box 7) (lambda (b v) (set! count (add1 count)) count) (lambda (b v) v))))
