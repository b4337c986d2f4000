;; A table whose keys and values are whatever its impersonator says at the moment.
(define count 0)
(define (next . _) (set! count (add1 count)) count)
(define (f x)
  (impersonate-hash (make-hash '((1 . 2) (3 . 4)))
                    (lambda (h k) (values k (lambda (h k v) (next))))
                    (lambda (h k v) (values k v))
                    (lambda (h k) k)
                    (lambda (h k) k)))
