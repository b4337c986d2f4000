;; What runs when a process ends properly: never here.
(plumber-add-flush! (current-plumber) (lambda (h) (let loop () (loop))))
(define end (make-will-executor))
(will-register end (list 1) (lambda (v) (let loop () (loop))))
(define (f x)
  (collect-garbage)
  7)
