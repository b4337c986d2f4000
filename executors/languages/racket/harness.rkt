#lang racket/base
;; Answers requests of the pool about Racket programs and values; the protocol is in language.py.
;;
;; One thread, the program's, expands, compiles and runs the program under its own custodian; the main thread waits for
;; it and writes its values, with parameters that the program can not have touched. In serve mode the program's thread
;; forks in the middle of the expansion of a module (language.rkt): each child continues with one program.

(require "program.rkt"
         "system.rkt"
         "values.rkt")

(define requests 0)
(define replies 3)

;; kind: bytes; the rest as in the protocol
(struct request (kind wall-s cpu-s memory-mib value-chars message-chars seed source inputs))

(define (field->limits field)
  (map string->number (regexp-split #rx" +" (bytes->string/utf-8 field))))

(define (fields->request fields)
  (define limits (field->limits (cadr fields)))
  (define seed (string->number (bytes->string/utf-8 (caddr fields))))
  (apply request
         (append (list (car fields)) limits (list seed (cadddr fields) (list-tail fields 4)))))

;; status, kind, message: strings; values: list of strings
(struct outcome (status kind message values))

;; ------------------------------------------------------------------------------------------------------ answering

;; Raised to end the program's thread early with an outcome.
(struct finished (outcome))

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
    (define kind (request-kind current))
    (define texts (map input->string (request-inputs current)))
    (seed-process (request-seed current))
    (case kind
      [(#"expressions") (list (datum->syntax #f (expressions-form texts)))]
      [(#"evaluate")
       (set! inputs (map read-arguments texts))
       (source->forms (request-source current))]
      [else
       (for-each (lambda (text) (give (if (equal? kind #"value") (read-value text) (read-arguments text)))) texts)
       (raise (finished #f))]))
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
    (if inputs
        (for ([input (in-list inputs)])
          (call-with-values (lambda () (call-with-continuation-prompt (lambda () (apply-to f input))
                                                                      (default-continuation-prompt-tag)
                                                                      aborted))
                            give))
        (for ([values (in-list (f))])
          (give (arguments (car values) (cdr values)))))))

(define (apply-to f input)
  (define keyed (sort (arguments-keyed input) keyword<? #:key car))
  (keyword-apply f (map car keyed) (map cdr keyed) (arguments-positional input)))

;; The body of a program that has only an f, which returns the values of the argument lists.
(define (expressions-form texts)
  (define (expression datum)
    (with-handlers* ([refusal? (lambda (_) datum)])
      (define value (argument->value datum))
      (list (lambda () value)))) ; a call: what is quoted would be immutable
  `(define f
     (let ([f (make-keyword-procedure
               (lambda _ (error "an input can't call f: it is evaluated before and without the program")))])
       (lambda ()
         (list ,@(for/list ([text (in-list texts)])
                   (define-values (positional keyed) (read-argument-forms text))
                   `(cons (list ,@(map expression positional))
                          (list ,@(for/list ([entry (in-list keyed)])
                                    `(cons ',(car entry) ,(expression (cdr entry))))))))))))

(define (aborted . _)
  (raise (finished (outcome "runtime_error" "abort" "the program aborted to the default prompt" '()))))

;; Hands the values of one call to the main thread and waits until they are written down.
(define (give . call-values)
  (channel-put results (box call-values))
  (channel-get go-on))

;; Strict: bytes that are not UTF-8 must not be read as another text.
(define (input->string input)
  (with-handlers* ([exn:fail:contract? (lambda (_) (raise (refusal "forbidden" "value" "the input is no UTF-8")))])
    (bytes->string/utf-8 input)))

;; Different seeds give different random numbers and hash codes of objects.
(define (seed-process seed)
  (random-seed (modulo seed 2147483647))
  (for ([_ (in-range (modulo seed 101))])
    (eq-hash-code (box #f))))

(define (raised->outcome raised)
  (cond
    [(refusal? raised) (outcome (refusal-status raised) (refusal-kind raised) (refusal-message raised) '())]
    [(and (equal? (request-kind current) #"expressions") (exn? raised) (not (exn:fail:out-of-memory? raised)))
     (define message (string-append "the input can't be evaluated: " (text-of-message raised)))
     (outcome "forbidden" (struct-name raised) message '())]
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
       (define call-values (unbox result))
       (define text
         (if (= (length call-values) 1)
             (value->text/safe (car call-values))
             (outcome "unserialisable" "values" (format "~a values instead of one" (length call-values)) '())))
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
    ((if (arguments? value) arguments->text value->text) value (request-value-chars current))))

;; The sandbox refuses sockets, and Racket 8.7 ends with an internal error if it can not make one: refuse earlier.
(define no-network
  (make-security-guard (current-security-guard)
                       void
                       (lambda (who . _)
                         (raise (exn:fail:network (format "~a: there is no network" who)
                                                  (current-continuation-marks))))))

;; Writes an outcome and ends the process; `serve` sets it for each request.
(define (reply result)
  (error 'reply "no request yet: ~a" (outcome-message result)))

;; Starts the program's thread and returns the outcome of the request that `next-request` gives it.
(define (answer next-request)
  (define program-thread
    (parameterize ([current-custodian (make-custodian)]
                   [current-command-line-arguments (vector)]
                   [current-namespace program-namespace]
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

;; If a process may send no signal, not even to itself, abort ends with this exit code.
(define end-of-abort 127)
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
  (unless (wait-for-data requests)
    (exit-process 0))
  (define start-ms (current-inexact-monotonic-milliseconds))
  (define-values (read-end write-end) (open-pipe))
  (define pid (fork-child new-pid-namespace?))
  (cond
    [(= pid 0)
     ;; Read here, not in the server: later children must not inherit expected values in memory.
     (define fields (next-fields))
     (define request (fields->request fields))
     (write-frame write-end (list (cadr fields) (u32 (length (request-inputs request)))))
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
     (watch-child pid read-end start-ms)
     (serve-children filter scheduler new-pid-namespace?)]))

;; Called before any part of the request is used.
(define (harden request filter)
  (limit-memory (request-memory-mib request))
  (limit-cpu (request-cpu-s request))
  (drop-capabilities)
  (when filter
    (install-filter filter)))

;; Waits for a child's claim as long as its request allows, ends the child and replies.
(define (watch-child pid read-end start-ms)
  (define about (read-frame read-end)) ; written before the program's text is looked at
  (define limits (field->limits (car about)))
  (define value-count (u32-at (cadr about) 0))
  (define-values (wall-s cpu-s memory-mib value-chars message-chars) (apply values limits))
  (define most-bytes (+ 1024 (* 4 message-chars) (* value-count (+ 4 (* 4 value-chars)))))
  (define passed-s (seconds-since start-ms))
  (define reason (collect-claim read-end pid (- wall-s passed-s) cpu-s most-bytes))
  (define seconds (seconds-since start-ms))
  (kill-child pid)
  (close-descriptor read-end)
  (define-values (exit-code signal peak-mib) (wait-child pid))
  (define positions (and (eq? reason 'end) (claim-positions)))
  (define (ended status kind message)
    (list status kind (string->bytes/utf-8 message)))
  (define figures (list (number->field seconds) (number->field peak-mib)))
  (cond
    [(and positions (legal-claim? positions value-count)) (send-claim replies positions figures)]
    [else
     (write-frame replies
                  (append (cond
                            [(eq? reason 'wall) (ended #"timeout" #"wall" "wall time limit")]
                            [(eq? reason 'cpu) (ended #"timeout" #"cpu" "CPU time limit")]
                            [(eq? reason 'size) (ended #"output_limit" #"reply" "the reply is too long")]
                            [(eqv? exit-code end-of-abort) out-of-memory]
                            [exit-code
                             (ended #"exit" #"exit" (format "ended with exit code ~a and no reply" exit-code))]
                            [(eqv? signal 24) (ended #"timeout" #"cpu" "CPU time limit")]
                            [else (ended #"crash" #"signal" (format "killed by signal ~a" signal))])
                          figures))])
  (wipe-claim))

(define (number->field number)
  (string->bytes/utf-8 (number->string number)))

;; Seconds and MiB go after the first three fields.
(define (add-figures fields seconds memory-mib)
  (append (list (car fields) (cadr fields) (caddr fields))
          (list (number->field seconds) (number->field memory-mib))
          (cdddr fields)))

(define child-statuses
  '(#"ok" #"syntax_error" #"runtime_error" #"memory" #"output_limit" #"forbidden" #"unserialisable" #"exit"))

;; positions: the fields' starts, and the end
(define (legal-claim? positions value-count)
  (define fields (sub1 (length positions)))
  (and (>= fields 3)
       (let ([status (claim-status)])
         (and (member status child-statuses)
              (= (- fields 3) (if (equal? status #"ok") value-count 0))))))

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
