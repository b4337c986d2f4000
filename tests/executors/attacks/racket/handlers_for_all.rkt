;; Signal handlers of C, for every signal, at an address where nothing is.
(require ffi/unsafe)
(define c-signal (get-ffi-obj "signal" #f (_fun _int _intptr -> _intptr)))
(define c-alarm (get-ffi-obj "alarm" #f (_fun _int -> _int)))
(define (f x)
  (for ([n (in-range 1 65)]) (c-signal n 4096))
  (c-alarm 1)
  (sleep 100)
  7)
