#lang racket/base
;; Required by the interpreter that forks for each test of a whole program: loads what programs of `#lang racket` need, by
;; declaring one, and gives programs no name.

(require (only-in racket))

(define sample
  (let-values ([(folder name directory?) (split-path (variable-reference->module-source (#%variable-reference)))])
    (build-path folder "sample.rkt")))

(parameterize ([current-module-declare-name (make-resolved-module-path 'sample)])
  ((current-load) sample 'sample))
