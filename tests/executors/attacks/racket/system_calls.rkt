#lang racket
(require ffi/unsafe)
(define call (get-ffi-obj "syscall" #f (_fun _intptr _intptr _intptr _intptr _intptr _intptr -> _intptr)))
(define (f x) (for/list ([c '((ptrace 101 16 1 0 0 0) (unshare 272 268435456 0 0 0 0) (clone3 435 0 0 0 0 0) (uring 425 8 0 0 0 0) (keyctl 250 0 -3 1 0 0) (shmget 29 77 4096 1023 0 0) (socket 41 1 1 0 0 0) (userfault 323 0 0 0 0 0) (bpf 321 0 0 0 0 0) (fork 57 0 0 0 0 0) (clone 56 17 0 0 0 0) (kill 62 1 9 0 0 0) (killall 62 -1 9 0 0 0) (group 62 0 9 0 0 0) (tkill 200 2 9 0 0 0) (pidfd 434 1 0 0 0 0) (chroot 161 0 0 0 0 0))] #:when (>= (apply call (cdr c)) 0)) (car c)))
