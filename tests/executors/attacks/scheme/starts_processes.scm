(use-modules (ice-9 popen) (ice-9 textual-ports))
(define (f x)
  (filter string?
    (map (lambda (way) (catch #t (lambda () (object->string (way))) (lambda _ #f)))
         (list (lambda () (if (= (primitive-fork) 0) (sleep 60)) 'forked)
               (lambda () (get-string-all (open-input-pipe "id")))))))
