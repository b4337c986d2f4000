;; Who asks for the exception's message waits for ever.
(define (f x)
  (raise (chaperone-struct (exn:fail "m" (current-continuation-marks)) exn-message
                           (lambda (e m) (let loop () (loop))))))
