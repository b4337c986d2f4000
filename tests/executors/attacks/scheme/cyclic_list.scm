(define (f x) (let ((l (list 1 2))) (set-cdr! (cdr l) l) l))
