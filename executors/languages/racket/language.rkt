#lang racket/base
;; The language a program's module is written in: exactly `racket`, except that a module whose body is two procedures,
;; (module program (file ".../language.rkt") #,source-forms #,register), gets its real body from the first one, which
;; is called in the middle of the expansion. By then the module has all of `racket` required and instantiated for its
;; macros; a server forks there, so that no program pays for it.

(require racket
         (for-syntax racket/base))
(provide (except-out (all-from-out racket) #%module-begin)
         (for-syntax (all-from-out racket/base))
         (rename-out [program-begin #%module-begin]))

;; source-forms: procedure that gives a syntax object the module's scopes -> list of syntax objects as the reader gives
;; them; register: called at the end of the module's body with a thunk that returns f, or with #f if it has no f.
(define-syntax (program-begin stx)
  (define body (cdr (syntax->list stx)))
  (define source-forms (and (= (length body) 2) (syntax-e (car body))))
  (cond
    [(procedure? source-forms)
     (define in-module (make-syntax-delta-introducer stx #f))
     (define forms (map in-module (source-forms in-module)))
     (datum->syntax stx (append (list #'#%module-begin) forms (list (list #'register-f (cadr body)))) stx)]
    [else (datum->syntax stx (cons #'#%module-begin body) stx stx)]))

;; An expression is expanded after all definitions of the module are known.
(define-syntax (register-f stx)
  (define register (cadr (syntax->list stx)))
  (define f (datum->syntax register 'f))
  (if (identifier-binding f)
      #`(define-values () (begin (#%plain-app #,register (lambda () #,f)) (values)))
      #`(define-values () (begin (#%plain-app #,register #f) (values)))))
