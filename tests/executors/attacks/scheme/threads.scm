(use-modules (ice-9 threads))
(define (f x) (catch #t (lambda () (call-with-new-thread (lambda () (let loop () (display "x") (loop))))) (lambda _ #f)) 7)
