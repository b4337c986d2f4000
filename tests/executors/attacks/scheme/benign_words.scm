; (system "rm -rf /")
(define (f x) '("fork" exit system "rm -rf /"))
