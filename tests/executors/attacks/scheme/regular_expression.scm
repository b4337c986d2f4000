(use-modules (ice-9 regex))
(define (f x) (if (string-match "^(a+)+$" (string-append (make-string 40 #\a) "!")) 1 0))
