(define (f x)
  (apply + (map (lambda (path) (catch #t (lambda () (call-with-output-file path (lambda (port) (display "left" port))) 1) (lambda _ 0)))
                '("/var/tmp/azr_canary/left" "/tmp/left" "left" "/dev/shm/left"))))
