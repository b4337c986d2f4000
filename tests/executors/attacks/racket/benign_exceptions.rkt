#lang racket
(struct mine exn:fail (v))
(define (f x) (with-handlers ([mine? mine-v]) (raise (mine "m" (current-continuation-marks) (list x #\a (set 1 2))))))
