(define (f x) (object->string (list car (current-time) (gettimeofday))))
