(for-each (lambda (n) (catch #t (lambda () (sigaction n SIG_IGN)) (lambda _ #f))) (iota 32))
(define (f x) (let loop () (catch #t (lambda () (throw 'a)) (lambda _ #f)) (loop)))
