(add-hook! exit-hook (lambda () (let loop () (loop))))
(define (f x) (dynamic-wind (lambda () #f) (lambda () 7) (lambda () #f)))
