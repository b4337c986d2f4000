#lang racket/base
;; Answers requests of the pool about Racket programs and values; the protocol is in language.py.
;;
;; One thread, the program's, expands, compiles and runs the program under a custodian of its own; the main thread waits
;; for it and writes its values down, with parameters that the program can not have touched. In serve mode the program's
;; thread forks in the middle of the expansion of a module (racket_language.rkt): each child goes on with one program.

(require racket/port
         syntax/modread
         "racket_system.rkt"
         "racket_values.rkt")

(define requests 0)
(define replies 3)

;; kind: bytes; the rest as in the protocol
(struct request (kind wall-s cpu-s memory-mib value-chars message-chars seed source inputs))

(define (fields->request fields)
  (define limits (map string->number (regexp-split #rx" +" (bytes->string/utf-8 (cadr fields)))))
  (define seed (string->number (bytes->string/utf-8 (caddr fields))))
  (apply request
         (append (list (car fields)) limits (list seed (cadddr fields) (list-tail fields 4)))))

;; status, kind, message: strings; values: list of strings
(struct outcome (status kind message values))

;; ------------------------------------------------------------------------------------------------------- program

(define-namespace-anchor anchor)
(define namespace (namespace-anchor->empty-namespace anchor))

(define language-path
  (let-values ([(folder name directory?)
                (split-path (resolved-module-path-name (variable-reference->resolved-module-path
                                                        (#%variable-reference))))])
    (path->string (build-path folder "racket_language.rkt"))))

;; A source that is no body of `#lang racket`: another language or a module form, to be read as the load handler does.
(struct whole-module (source))
;; Raised to end the program's thread early with an outcome.
(struct finished (outcome))

;; Skips white space and comments at the start of a port.
(define (skip-blank in)
  (cond
    [(regexp-try-match #px"^(?:\\s|;[^\n]*(?:\n|$)|#![ /][^\n]*(?:\n|$))+" in) (skip-blank in)]
    [(regexp-try-match #rx"^#[|]" in)
     (let loop ([depth 1])
       (when (> depth 0)
         (define mark (regexp-match #rx"[|]#|#[|]" in))
         (loop (if mark (+ depth (if (equal? (car mark) #"#|") 1 -1)) 0))))
     (skip-blank in)]
    [else (void)]))

(define (module-port source)
  (define in (open-input-bytes source))
  (port-count-lines! in)
  in)

;; source -> the forms of the body of a `racket` module; raises whole-module when it is something else.
(define (source->forms source)
  (define in (module-port source))
  (skip-blank in)
  (unless (regexp-try-match #px"^#lang racket(?=\\s|$)" in)
    (when (regexp-match-peek #rx"^#(?:lang |!)" in)
      (raise (whole-module source))))
  (define forms
    (with-module-reading-parameterization
     (lambda ()
       (for/list ([form (in-port (lambda (in) (read-syntax 'program.rkt in)) in)])
         form))))
  (when (and (= (length forms) 1) (pair? (syntax-e (car forms))) (eq? 'module (syntax-e (car (syntax-e (car forms))))))
    (raise (whole-module source)))
  forms)

;; Declares the module 'program in the current namespace. -> procedure that instantiates it and returns a thunk for f,
;; or #f without an f. `next-request` is called in the middle of the expansion.
(define (declare-program source-forms [name 'program])
  (define f-thunk #f)
  (define (register thunk)
    (set! f-thunk thunk))
  (eval (datum->syntax #f
                       (list (namespace-module-identifier)
                             (datum->syntax #f name)
                             (datum->syntax #f (list 'file language-path))
                             source-forms
                             register)))
  (lambda ()
    (dynamic-require `(quote ,name) #f)
    f-thunk))

(define (declare-whole-module source)
  (define in (module-port source))
  (define form
    (with-module-reading-parameterization
     (lambda ()
       (define form (check-module-form (read-syntax 'program.rkt in) 'program "program.rkt"))
       (unless (eof-object? (read-syntax 'program.rkt in))
         (raise-syntax-error #f "a file must hold one module" form))
       form)))
  (parameterize ([current-module-declare-name (make-resolved-module-path 'program)])
    (eval form))
  (lambda ()
    (dynamic-require ''program #f)
    (parameterize ([current-namespace (module->namespace ''program)])
      (define f (namespace-symbol->identifier 'f))
      (and (identifier-binding f)
           (let ([namespace (current-namespace)])
             (lambda ()
               (eval f namespace)))))))

;; ------------------------------------------------------------------------------------------------------ answering

(define results (make-channel)) ; from the program's thread: boxes of values
(define go-on (make-channel)) ; to it: the value is written down
(define current #f) ; the request that this process answers
(define phase 'syntax)
(define early #f) ; outcome that ended the program's thread, if one did

;; In the program's thread: everything from a request to the values.
(define (run-program next-request)
  (define inputs #f)
  (define (source-forms in-module)
    (set! current (next-request in-module))
    (define evaluate? (equal? (request-kind current) #"evaluate"))
    (seed-process (request-seed current))
    (set! inputs
          (for/list ([input (in-list (request-inputs current))])
            (read-value (bytes->string/utf-8 input #\uFFFD) evaluate?)))
    (unless evaluate?
      (for-each give inputs)
      (raise (finished #f)))
    (source->forms (request-source current)))
  (with-handlers* ([finished? (lambda (end) (set! early (finished-outcome end)))]
                   [void (lambda (raised) (set! early (raised->outcome raised)))])
    (define instantiate
      (with-handlers* ([whole-module? (lambda (module) (declare-whole-module (whole-module-source module)))])
        (declare-program source-forms)))
    (set! phase 'run)
    (define f-thunk (instantiate))
    (define f (and f-thunk (f-thunk)))
    (unless (procedure? f)
      (raise (finished (outcome "runtime_error" "missing_function" "the program defines no function f" '()))))
    (for ([input (in-list inputs)])
      (call-with-values (lambda () (call-with-continuation-prompt (lambda () (f input))
                                                                  (default-continuation-prompt-tag)
                                                                  aborted))
                        give))))

(define (aborted . _)
  (raise (finished (outcome "runtime_error" "abort" "the program aborted to the default prompt" '()))))

;; Hands the values of one call to the main thread and waits until they are written down.
(define (give . values)
  (channel-put results (box values))
  (channel-get go-on))

;; Different seeds give other random numbers and other hash codes of objects.
(define (seed-process seed)
  (random-seed (modulo seed 2147483647))
  (for ([_ (in-range (modulo seed 101))])
    (eq-hash-code (box #f))))

(define (raised->outcome raised)
  (cond
    [(refusal? raised) (outcome (refusal-status raised) (refusal-kind raised) (refusal-message raised) '())]
    [(and (exn? raised) (eq? phase 'syntax))
     (outcome "syntax_error" (struct-name raised) (text-of-message raised) '())]
    [(exn:fail:out-of-memory? raised) (outcome "memory" (struct-name raised) (text-of-message raised) '())]
    [(exn? raised) (outcome "runtime_error" (struct-name raised) (text-of-message raised) '())]
    [else
     (define text
       (with-handlers* ([void (lambda (_) "a value that is no exn")])
         (value->text raised 200)))
     (outcome (if (eq? phase 'syntax) "syntax_error" "runtime_error") "raise" text '())]))

(define (struct-name raised)
  (define name (symbol->string (vector-ref (struct->vector raised) 0)))
  (if (regexp-match? #rx"^struct:" name)
      (substring name 7)
      name))

(define (text-of-message raised)
  (define message (exn-message raised))
  (if (string? message) message "the exception's message is no string"))

;; In the main thread: the outcome of the program's thread, its values written down one after another.
(define (collect-outcome program-thread)
  (let loop ([texts '()])
    (define result (sync results program-thread))
    (cond
      [(box? result)
       (define values (unbox result))
       (define text
         (if (= (length values) 1)
             (value->text/safe (car values))
             (outcome "unserialisable" "values" (format "~a values instead of one" (length values)) '())))
       (cond
         [(outcome? text) text]
         [else
          (channel-put go-on #t)
          (loop (cons text texts))])]
      [early early]
      [(= (length texts) (length (request-inputs current))) (outcome "ok" "" "" (reverse texts))]
      [else (outcome "runtime_error" "thread_killed" "the program's thread was killed" '())])))

(define (value->text/safe value)
  (with-handlers* ([refusal? raised->outcome]
                   [void (lambda (_) (outcome "unserialisable" "raise" "looking into the value raised" '()))])
    (value->text value (request-value-chars current))))

;; The sandbox refuses sockets, and Racket 8.7 ends with an internal error when it can not make one: refuse before.
(define no-network
  (make-security-guard (current-security-guard)
                       void
                       (lambda (who . _)
                         (raise (exn:fail:network (format "~a: there is no network" who)
                                                  (current-continuation-marks))))))

;; Writes an outcome and ends the process.
(define (reply result)
  (error 'reply "no request yet: ~a" (outcome-message result)))

;; Starts the program's thread and returns the outcome of the request that `next-request` gives it.
(define (answer next-request)
  (define program-thread
    (parameterize ([current-custodian (make-custodian)]
                   [current-namespace namespace]
                   [current-security-guard no-network]
                   [exit-handler (lambda (code)
                                   (reply (outcome "exit" "exit" (format "exit ~s" (if (byte? code) code 0)) '())))])
      (thread (lambda () (run-program next-request)))))
  (collect-outcome program-thread))

;; -> status, kind, message, value ... as a frame's fields
(define (outcome->fields result)
  (define message (outcome-message result))
  (define most (request-message-chars current))
  (append (map string->bytes/utf-8
               (append (list (outcome-status result)
                             (outcome-kind result)
                             (if (> (string-length message) most) (substring message 0 most) message))
                       (outcome-values result)))))

(define (seconds-since start-ms)
  (/ (- (current-inexact-monotonic-milliseconds) start-ms) 1000.0))

;; ------------------------------------------------------------------------------------------------------- warm-up

;; A program of the usual forms: what the expander, the compiler and the libraries load or build at first use is then
;; there for every child.
(define warm-up-source
  (string->bytes/utf-8 #<<PROGRAM
#lang racket
(struct point (x y) #:transparent)
(define-struct counter (count) #:mutable)
(define (area #:scale [scale 1] p [extra 0])
  (match p
    [(point x y) #:when (> x 0) (+ extra (* scale x y))]
    [(list a b ...) (apply + a b)]
    [(cons a _) a]
    [_ 0]))
(define-values (low high) (values 1 2))
(define-syntax-rule (twice e) (begin e e))
(define table (make-hash))
(define (count-words s)
  (for ([word (in-list (string-split s))] [i (in-naturals)])
    (hash-update! table word add1 0))
  (sort (hash->list table) string<? #:key car))
(define (f x)
  (define-values (q r) (quotient/remainder 17 5))
  (let* ([v (for/vector ([i (in-range 3)]) (* i i))]
         [h (for/hash ([(k i) (in-indexed '(a b))]) (values k i))]
         [s (for/fold ([sum 0]) ([y (in-vector v)] #:unless (odd? y)) (+ sum y))])
    (let loop ([i 0] [acc '()])
      (cond
        [(= i 3) (reverse acc)]
        [(even? i) (loop (add1 i) (cons i acc))]
        [else (loop (+ i 1) acc)]))
    (when (string? x) (set! x (string-upcase x)))
    (unless (list? x) (void))
    (define c (counter 0))
    (twice (set-counter-count! c 1))
    (letrec ([e? (lambda (n) (if (zero? n) #t (o? (sub1 n))))] [o? (lambda (n) (and (positive? n) (e? (- n 1))))])
      (e? 4))
    (case q [(1 2) 'low] [else 'high])
    (list (area (point 1 2)) (count-words "b a b") (with-handlers ([exn:fail? exn-message]) (error 'f "no ~a" r))
          (for*/list ([a '(1 2)] [b (in-string "xy")]) (format "~a~s" a b))
          (map (λ (a . b) (list* a b)) '(1 2) '(3 4)) `(1 ,s ,@(vector->list v))
          (regexp-match #rx"([0-9]+)" "a12") (string-join '("a" "b") ",") (foldl cons '() '(1 2))
          (filter even? (range 4)) (hash-ref h 'a #f) (let/ec k (k 1)) (set 1 2) (string->number "1.5")
          (parameterize ([current-output-port (open-output-string)]) (printf "~a" 1)) (exact->inexact 1/3))))
(f "x")
PROGRAM
                       ))

;; Every module that is expanded has its own instances of the macros' own modules, made at first use: here for the
;; module that all children go on with.
(define (warm-up-expansion in-module)
  (define forms (map in-module (source->forms warm-up-source)))
  (local-expand (datum->syntax #f `(,(in-module (datum->syntax #f 'let)) () ,@forms)) 'expression '())
  (collect-garbage))

(define (warm-up)
  (define nowhere (open-output-nowhere))
  (parameterize ([current-namespace namespace]
                 [current-output-port nowhere])
    (for ([name (in-list '(warm-up-1 warm-up-2))])
      (define f ((declare-program (lambda (_) (source->forms warm-up-source)) name)))
      (value->text (read-value (value->text ((f) "x") 4096) #f) 4096)))
  (collect-garbage))

;; ------------------------------------------------------------------------------------------------------- serving

;; Answers requests until there are no more, each in a child; returns in the child, with its request and with `reply`
;; set to write to the parent. With `once?` this process itself answers the one request that comes.
(define (serve once?)
  (define filter-path (getenv "AZR_CHILD_FILTER"))
  (define filter (and filter-path (load-filter (string->bytes/utf-8 filter-path))))
  (define scheduler (scheduler-descriptors))
  (unless once?
    (refuse-peers))
  (write-frame replies '(#"ready"))
  (if once?
      (serve-here filter)
      (serve-children filter scheduler (equal? (getenv "AZR_NEW_PID") "1"))))

(define out-of-memory '(#"memory" #"abort" #"out of memory"))

(define (next-fields)
  (define fields (read-frame requests))
  (when (eof-object? fields)
    (exit-process 0))
  fields)

(define (serve-here filter)
  (define request (fields->request (next-fields)))
  (define start-ms (current-inexact-monotonic-milliseconds))
  (set! reply
        (lambda (result)
          (write-frame replies (add-figures (outcome->fields result) (seconds-since start-ms) (peak-memory-mib)))
          (exit-process 0)))
  (on-abort replies (add-figures out-of-memory 0.0 0.0))
  (harden request filter)
  request)

(define (serve-children filter scheduler new-pid-namespace?)
  (define request (fields->request (next-fields)))
  (define start-ms (current-inexact-monotonic-milliseconds))
  (define-values (read-end write-end) (open-pipe))
  (define pid (fork-child new-pid-namespace?))
  (cond
    [(= pid 0)
     (set! reply
           (lambda (result)
             (write-frame write-end (outcome->fields result))
             (exit-process 0)))
     (isolate write-end scheduler)
     (on-abort write-end out-of-memory)
     (harden request filter)
     request]
    [else
     (close-descriptor write-end)
     (write-frame replies (watch-child pid read-end request start-ms))
     (serve-children filter scheduler new-pid-namespace?)]))

;; Before anything of the request is looked at.
(define (harden request filter)
  (limit-memory (request-memory-mib request))
  (limit-cpu (request-cpu-s request))
  (drop-capabilities)
  (when filter
    (install-filter filter)))

;; Waits for a child's reply as long as the request allows, then ends the child. -> fields of the reply
(define (watch-child pid read-end request start-ms)
  (define most-bytes
    (+ 1024
       (* 4 (request-message-chars request))
       (* (length (request-inputs request)) (+ 4 (* 4 (request-value-chars request))))))
  (define-values (bytes reason)
    (read-until read-end pid (request-wall-s request) (request-cpu-s request) most-bytes))
  (define seconds (seconds-since start-ms))
  (kill-child pid)
  (close-descriptor read-end)
  (define-values (exit-code signal memory-mib) (wait-child pid))
  (define fields (and (eq? reason 'end) (decode-frame bytes)))
  (define (ended status kind message)
    (list status kind (string->bytes/utf-8 message)))
  (define answer
    (cond
      [(eq? reason 'wall) (ended #"timeout" #"wall" "wall time limit")]
      [(eq? reason 'cpu) (ended #"timeout" #"cpu" "CPU time limit")]
      [(eq? reason 'size) (ended #"output_limit" #"reply" "the reply is too long")]
      [(and fields (legal-reply? fields request)) fields]
      [exit-code (ended #"exit" #"exit" (format "ended with exit code ~a and no reply" exit-code))]
      [(eqv? signal 24) (ended #"timeout" #"cpu" "CPU time limit")]
      [else (ended #"crash" #"signal" (format "killed by signal ~a" signal))]))
  (add-figures answer seconds memory-mib))

;; Seconds and MiB go behind the first three fields.
(define (add-figures fields seconds memory-mib)
  (append (list (car fields) (cadr fields) (caddr fields))
          (map string->bytes/utf-8 (list (number->string seconds) (number->string memory-mib)))
          (cdddr fields)))

(define child-statuses
  '(#"ok" #"syntax_error" #"runtime_error" #"memory" #"output_limit" #"forbidden" #"unserialisable" #"exit"))

(define (legal-reply? fields request)
  (and (>= (length fields) 3)
       (member (car fields) child-statuses)
       (= (length (cdddr fields)) (if (equal? (car fields) #"ok") (length (request-inputs request)) 0))))

(module+ main
  (define once?
    (case (vector-ref (current-command-line-arguments) 0)
      [("--once") #t]
      [("--serve") #f]))
  (unless once?
    (warm-up))
  (define result
    (answer (lambda (in-module)
              (unless once?
                (warm-up-expansion in-module))
              (serve once?))))
  (reply result)) ; which `serve` has set meanwhile
