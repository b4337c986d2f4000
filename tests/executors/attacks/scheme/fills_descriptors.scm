(define kept '())
(define (f x)
  (catch #t (lambda () (let loop () (set! kept (cons (open-input-file "/dev/null") kept)) (loop))) (lambda _ 7)))
