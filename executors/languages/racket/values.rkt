#lang racket/base
;; Values as text: `read-value` turns one literal or constructor call into a value without evaluating anything, and
;; `value->text` turns a value into its canonical text, which `read-value` and Racket itself read back.
;; Both raise a `refusal` (status, kind, message) for what they do not accept; neither runs code of the program, except
;; that reading an impersonator may run its procedures.

(require racket/extflonum
         racket/fixnum
         racket/flonum
         racket/list
         racket/set
         racket/string)
(provide read-value
         read-arguments
         read-argument-forms
         argument->value
         value->text
         arguments->text
         (struct-out arguments)
         (struct-out refusal))

;; status: string of the protocol; kind, message: strings
(struct refusal (status kind message))

(define max-depth 500)

(define (forbid message)
  (raise (refusal "forbidden" "value" message)))

;; ---------------------------------------------------------------------------------------------------------- reading

;; `#<void>`, as Racket prints it inside quoted data.
(define value-readtable
  (make-readtable #f
                  #\<
                  'dispatch-macro
                  (lambda (char in source line column position)
                    (if (equal? (peek-string 5 0 in) "void>")
                        (begin
                          (read-string 5 in)
                          (void))
                        (raise (refusal "forbidden" "value" "#< starts no literal"))))))

;; An exact number with an exponent of five digits: the reader takes half a minute to write out its zeros.
(define immense #px"#[eE][^\\s()\\[\\]{}\";,]*?[eEsSlLdDfFtT][+-]?[0-9#]{5,}")
(define characters-and-strings #px"#\\\\.|\"(?:[^\"\\\\]|\\\\.)*\"")

;; text -> list of data. Read as syntax, so that literals are immutable as in a program.
(define (read-data text)
  (when (regexp-match? immense (regexp-replace* characters-and-strings text "\"\""))
    (forbid "an exact number with an exponent of more than four digits"))
  (define in (open-input-string text))
  (parameterize ([current-readtable value-readtable]
                 [read-accept-reader #f]
                 [read-accept-lang #f]
                 [read-accept-compiled #f]
                 [read-accept-graph #f])
    (with-handlers ([exn:fail? (lambda (error) (forbid (exn-message error)))])
      (let loop ([data '()])
        (define syntax-or-eof (read-syntax 'value in))
        (if (eof-object? syntax-or-eof)
            (reverse data)
            (loop (cons (syntax->datum syntax-or-eof) data)))))))

;; The arguments of a call: a list of values, and a list of pairs of a keyword and a value.
(struct arguments (positional keyed))

;; text between the name of f and the end of a call -> arguments, every one of them a value.
(define (read-arguments text)
  (define-values (positional keyed) (read-argument-forms text))
  (arguments (map argument->value positional)
             (for/list ([entry (in-list keyed)])
               (cons (car entry) (argument->value (cdr entry))))))

;; As datum->value, but a list that starts with f is a call of it.
(define (argument->value datum)
  (when (and (pair? datum) (eq? (car datum) 'f))
    (forbid "an input can't call f: it is evaluated before and without the program"))
  (datum->value datum))

;; text -> list of data, and list of pairs of a keyword and a datum
(define (read-argument-forms text)
  (let loop ([data (read-data text)] [positional '()] [keyed '()])
    (cond
      [(null? data)
       (when (and (null? positional) (null? keyed))
         (forbid "no argument list: f needs an argument"))
       (values (reverse positional) (reverse keyed))]
      [(not (keyword? (car data))) (loop (cdr data) (cons (car data) positional) keyed)]
      [(or (null? (cdr data)) (keyword? (cadr data)) (assq (car data) keyed))
       (forbid (format "no argument list: ~s has no value, or two" (car data)))]
      [else (loop (cddr data) positional (cons (cons (car data) (cadr data)) keyed))])))

(define constructors
  (hasheq 'list list
          'list* list*
          'cons cons
          'vector vector
          'vector-immutable vector-immutable
          'make-vector make-vector
          'make-list make-list
          'make-string make-string
          'box box
          'box-immutable box-immutable
          'string string
          'string-copy string-copy
          'bytes-copy bytes-copy
          'bytes bytes
          'void void
          'hash hash
          'hasheqv hasheqv
          'hasheq hasheq
          'make-hash make-hash
          'make-hasheqv make-hasheqv
          'make-hasheq make-hasheq
          'make-immutable-hash make-immutable-hash
          'make-immutable-hasheqv make-immutable-hasheqv
          'make-immutable-hasheq make-immutable-hasheq
          'set set
          'seteqv seteqv
          'seteq seteq
          'mutable-set mutable-set
          'mutable-seteqv mutable-seteqv
          'mutable-seteq mutable-seteq
          'list->set list->set
          'list->vector list->vector
          'list->string list->string
          'string->list string->list
          'string->symbol string->symbol
          'string->keyword string->keyword
          'integer->char integer->char
          'make-prefab-struct make-prefab-struct
          'flvector flvector
          'fxvector fxvector))

(define constants (hasheq 'null '() 'empty '() 'true #t 'false #f))

;; Names that `racket` binds: a bare list that starts with one of them is code, not data.
(define (bound-in-racket? name)
  (define-values (variables syntaxes) (module->exports 'racket))
  (for*/or ([exports (in-list (append variables syntaxes))]
            #:when (eqv? (car exports) 0))
    (and (assq name (cdr exports)) #t)))

;; text -> value. Accepted: literals; 'datum and `datum with unquoted values; null, empty, true, false; calls of
;; `constructors`; and a bare list of data, as `write` prints it, if its head is no name that `racket` binds.
(define (read-value text)
  (define data (read-data text))
  (unless (= (length data) 1)
    (forbid (if (null? data) "no value" "more than one value")))
  (datum->value (car data)))

(define (datum->value datum)
  (define (value-of datum)
    (cond
      [(pair? datum) (form-of datum)]
      [(symbol? datum)
       (hash-ref constants datum (lambda () (forbid (format "~s is a name, not a value" datum))))]
      [(extflonum? datum) (forbid "an extflonum")]
      [else datum]))
  (define (form-of datum)
    (define head (car datum))
    (define arguments (cdr datum))
    (define procedure (and (symbol? head) (hash-ref constructors head #f)))
    (define quoted? (and (pair? arguments) (null? (cdr arguments))))
    (cond
      [(and (eq? head 'quote) quoted?) (car arguments)]
      [(and (eq? head 'quasiquote) quoted?) (template-of (car arguments))]
      [(and procedure (list? arguments))
       (with-handlers ([exn:fail? (lambda (error) (forbid (exn-message error)))])
         (apply procedure (map value-of arguments)))]
      [(and (symbol? head) (or procedure (bound-in-racket? head)))
       (forbid (format "~s is not a constructor of values" head))]
      [else datum]))
  (define (template-of datum)
    (cond
      [(not (pair? datum)) datum]
      [(and (memq (car datum) '(unquote unquote-splicing quasiquote)) (list? datum) (= (length datum) 2))
       (if (eq? (car datum) 'unquote)
           (value-of (cadr datum))
           (forbid "a nested quasiquote or unquote-splicing"))]
      [else (cons (template-of (car datum)) (template-of (cdr datum)))]))
  (value-of datum))

;; ---------------------------------------------------------------------------------------------------------- writing

(define (unserialisable what)
  (raise (refusal "unserialisable" what (format "a value of kind ~a can not be written down" what))))

(define (too-long)
  (raise (refusal "output_limit" "value" "the value's text is longer than the limit")))

;; arguments, most characters -> canonical text. As value->text, but keeps mutability: a program may depend on it.
(define (arguments->text list max-chars)
  (define positional (map (lambda (value) (value->text value max-chars #t)) (arguments-positional list)))
  (define keyed
    (for/list ([entry (in-list (arguments-keyed list))])
      (format "~s ~a" (car entry) (value->text (cdr entry) max-chars #t))))
  (define text (string-join (append positional keyed) " "))
  (when (> (string-length text) max-chars)
    (too-long))
  text)

;; any value, most characters -> canonical text. Exact types are kept (1, 1.0 and #t differ); mutability is dropped, or
;; with `mutability?` kept; the entries of hashes and sets are sorted by their text.
(define (value->text value max-chars [mutability? #f])
  (define left max-chars)
  (define active (make-hasheq))

  (define (spend text)
    (set! left (- left (string-length text)))
    (when (< left 0)
      (too-long))
    text)

  (define (call name texts)
    (set! left (- left (+ 2 (length texts))))
    (spend name)
    (string-append "(" (string-join (cons name texts) " ") ")"))

  (define (text-of value depth)
    (cond
      [(and mutability? (or (string? value) (bytes? value)) (not (immutable? value)))
       (call (if (string? value) "string-copy" "bytes-copy") (list (spend (atom->text value left))))]
      [(atom->text value left) => spend]
      [(eq? value '()) (spend "'()")]
      [(> depth max-depth) (unserialisable "nested too deep")]
      [(hash-ref active value #f) (unserialisable "cyclic")]
      [else
       (hash-set! active value #t)
       (begin0 (compound->text value (lambda (part) (text-of part (add1 depth))))
               (hash-remove! active value))]))

  (define (compound->text value text-of)
    (define (texts parts count)
      (when (> count left)
        (too-long))
      (map text-of parts))
    (cond
      [(pair? value) (pairs->text value text-of)]
      [(vector? value)
       (call (if (and mutability? (immutable? value)) "vector-immutable" "vector")
             (texts (vector->list value) (vector-length value)))]
      [(box? value)
       (call (if (and mutability? (immutable? value)) "box-immutable" "box") (list (text-of (unbox value))))]
      [(and mutability? (hash? value) (not (immutable? value)))
       (call (cond
               [(hash-equal? value) "make-hash"]
               [(hash-eqv? value) "make-hasheqv"]
               [else "make-hasheq"])
             (list (call "list" (pairs-of (hash->texts value text-of)))))]
      [(hash? value)
       (call (cond
               [(hash-equal? value) "hash"]
               [(hash-eqv? value) "hasheqv"]
               [(hash-eq? value) "hasheq"]
               [else (unserialisable "hash by equal-always?")])
             (hash->texts value text-of))]
      [(plain-set-name value)
       => (lambda (name)
            (call (if (and mutability? (set-mutable? value)) (string-append "mutable-" name) name)
                  (sorted-texts (texts (set->list value) (set-count value)) (not (equal? name "set")))))]
      [(flvector? value)
       (call "flvector" (texts (for/list ([x (in-flvector value)]) x) (flvector-length value)))]
      [(fxvector? value)
       (call "fxvector" (texts (for/list ([x (in-fxvector value)]) x) (fxvector-length value)))]
      [(prefab-struct-key value)
       => (lambda (key)
            (call "make-prefab-struct"
                  (cons (spend (format "'~s" key)) (map text-of (cdr (vector->list (struct->vector value)))))))]
      [else (unserialisable (kind-of value))]))

  (define (pairs->text value text-of)
    (define-values (texts end)
      (let loop ([rest value] [slow value] [step? #f] [texts '()])
        (cond
          [(not (pair? rest)) (values (reverse texts) rest)]
          [else
           (define next (cdr rest))
           (define next-slow (if step? (cdr slow) slow))
           (when (eq? next next-slow)
             (unserialisable "cyclic"))
           (loop next next-slow (not step?) (cons (text-of (car rest)) texts))])))
    (cond
      [(null? end) (call "list" texts)]
      [(null? (cdr texts)) (call "cons" (list (car texts) (text-of end)))]
      [else (call "list*" (append texts (list (text-of end))))]))

  (define (pairs-of texts)
    (if (null? texts)
        '()
        (cons (call "cons" (list (car texts) (cadr texts))) (pairs-of (cddr texts)))))

  (define (hash->texts value text-of)
    (when (> (* 2 (hash-count value)) left)
      (too-long))
    (define entries
      (for/list ([(key item) (in-hash value)])
        (cons (text-of key) (text-of item))))
    (define sorted (sort entries string<? #:key car))
    (sorted-texts (map car sorted) (not (hash-equal? value)))
    (append* (for/list ([entry (in-list sorted)])
               (list (car entry) (cdr entry)))))

  (text-of value 0))

;; Sorted texts; with `by-identity?`, two entries with equal texts are different objects, which can not be written.
(define (sorted-texts texts by-identity?)
  (define sorted (sort texts string<?))
  (when (and by-identity? (check-duplicates sorted))
    (unserialisable "table of objects by identity"))
  sorted)

;; The constructor of a set made by the language's own constructors, or #f.
(define (plain-set-name value)
  (and (or (set? value) (set-mutable? value) (set-weak? value))
       (cond
         [(set-equal? value) "set"]
         [(set-eqv? value) "seteqv"]
         [(set-eq? value) "seteq"]
         [else #f])))

;; A value without parts -> its text, or #f.
(define (atom->text value left)
  (cond
    [(eq? value #t) "#t"]
    [(eq? value #f) "#f"]
    [(number? value) (number->text value left)]
    [(string? value)
     (when (> (string-length value) left)
       (too-long))
     (string->text value)]
    [(symbol? value)
     (unless (symbol-interned? value)
       (unserialisable "uninterned symbol"))
     (string-append "'" (written value))]
    [(keyword? value) (string-append "'" (written value))]
    [(char? value) (char->text value)]
    [(bytes? value)
     (when (> (bytes-length value) left)
       (too-long))
     (written value)]
    [(void? value) "(void)"]
    [(or (regexp? value) (byte-regexp? value)) (written value)]
    [else #f]))

(define (written value)
  (parameterize ([read-case-sensitive #t]
                 [read-accept-bar-quote #t]
                 [print-graph #f]
                 [current-readtable #f])
    (define out (open-output-string))
    (write value out)
    (get-output-string out)))

(define (number->text value left)
  (define (check part)
    (when (and (exact-integer? part) (> (quotient (integer-length part) 4) left))
      (too-long)))
  (for ([part (in-list (list (real-part value) (imag-part value)))]
        #:when (exact? part))
    (check (numerator part))
    (check (denominator part)))
  (number->string value))

(define (plain? char)
  (and (char-graphic? char) (not (memq (char-general-category char) '(mn mc me cf co cn)))))

(define (hex char width)
  (define digits (string-upcase (number->string (char->integer char) 16)))
  (string-append (make-string (max 0 (- width (string-length digits))) #\0) digits))

(define (escape char)
  (if (< (char->integer char) #x10000)
      (string-append "\\u" (hex char 4))
      (string-append "\\U" (hex char 8))))

(define string-escapes
  (hasheqv #\" "\\\"" #\\ "\\\\" #\newline "\\n" #\tab "\\t" #\return "\\r" #\space " "))

(define (string->text value)
  (define out (open-output-string))
  (write-char #\" out)
  (for ([char (in-string value)])
    (define escaped (hash-ref string-escapes char #f))
    (cond
      [escaped (write-string escaped out)]
      [(plain? char) (write-char char out)]
      [else (write-string (escape char) out)]))
  (write-char #\" out)
  (get-output-string out))

(define char-names
  (hasheqv #\nul "nul" #\backspace "backspace" #\tab "tab" #\newline "newline" #\vtab "vtab" #\page "page"
           #\return "return" #\space "space" #\rubout "rubout"))

(define (char->text value)
  (string-append "#"
                 (cond
                   [(hash-ref char-names value #f) => (lambda (name) (string-append "\\" name))]
                   [(plain? value) (string #\\ value)]
                   [else (escape value)])))

;; A word for a value that can not be written down.
(define (kind-of value)
  (cond
    [(procedure? value) "procedure"]
    [(struct? value) "struct"]
    [(port? value) "port"]
    [(eof-object? value) "eof"]
    [(syntax? value) "syntax"]
    [else "opaque"]))
