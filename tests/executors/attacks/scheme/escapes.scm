(define (f x) (catch #t (lambda () (abort-to-prompt (default-prompt-tag) 42)) (lambda _ 7)))
