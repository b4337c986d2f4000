#lang racket/base
;; Required by the interpreter that forks for each test of a whole program: loads what programs of `#lang racket` need, by
;; declaring one, and gives programs no name.

(require (only-in racket))

(define sample
  (let-values ([(folder name directory?) (split-path (variable-reference->module-source (#%variable-reference)))])
    (build-path folder "sample.rkt")))

(parameterize ([current-module-declare-name (make-resolved-module-path 'sample)])
  ((current-load) sample 'sample))

;; Opening the program's file, the one in the current folder, is the fork point: a fork has random numbers of its own, as
;; a fresh interpreter has.
(define load-file (current-load))
(current-load
 (lambda (path expected)
   (define-values (folder name directory?) (split-path path))
   (when (equal? folder (current-directory))
     (current-load load-file)
     (close-input-port (open-input-file path))
     (current-pseudo-random-generator (make-pseudo-random-generator)))
   (load-file path expected)))
