(define-syntax m (lambda (form) (let loop () (loop))))
(define (f x) (m))
