#lang racket/base
;; Linux system calls for the harness, through one foreign function: descriptors, frames, children, limits, hardening.
;; Every call goes through libc's `syscall`: one signature costs its start-up compilation once, and nothing here uses
;; Racket's own ports, whose buffers a parent and its children would share.

(require ffi/unsafe
         racket/list)
(provide read-frame
         write-frame
         u32
         u32-at
         open-pipe
         close-descriptor
         wait-for-data
         collect-claim
         claim-positions
         claim-status
         send-claim
         wipe-claim
         read-file
         fork-child
         kill-child
         wait-child
         peak-memory-mib
         exit-process
         refuse-peers
         scheduler-descriptors
         isolate
         on-abort
         limit-memory
         limit-cpu
         drop-capabilities
         load-filter
         install-filter)

(define syscall
  (get-ffi-obj "syscall"
               #f
               (_fun #:save-errno 'posix _intptr _intptr _intptr _intptr _intptr _intptr _intptr -> _intptr)))

(define (call number [a 0] [b 0] [c 0] [d 0] [e 0] [f 0])
  (syscall number a b c d e f))

(define (must who result)
  (when (< result 0)
    (error who "errno ~a" (saved-errno)))
  result)

(define-values (READ WRITE CLOSE OPENAT PPOLL PIPE2 DUP3 CLOSE-RANGE CLONE WAIT4 KILL EXIT-GROUP SETSID PRCTL PRLIMIT
                     CAPSET CLOCK-GETTIME GETRUSAGE EPOLL-CREATE1 SIGACTION MMAP MPROTECT)
  (case (system-type 'arch)
    [(x86_64) (values 0 1 3 257 271 293 292 436 56 61 62 231 112 157 302 126 228 98 291 13 9 10)]
    [(aarch64) (values 63 64 57 56 73 59 24 436 220 260 129 94 157 167 261 91 113 165 20 134 222 226)]
    [else (error 'system "no system call numbers for ~a" (system-type 'arch))]))

(define EINTR 4)

;; Memory outside Racket's heap, for arguments of calls: the first `structs-size` bytes for small structures, the rest
;; for data read from or written to descriptors.
(define structs-size 1024)
(define data-size 65536)
(define scratch (malloc (+ structs-size data-size) 'raw))
(define data (ptr-add scratch structs-size))
(define scratch-address (cast scratch _pointer _intptr))
(define data-address (+ scratch-address structs-size))

(define (set-int64! offset value) (ptr-set! scratch _int64 'abs offset value))
(define (set-int32! offset value) (ptr-set! scratch _int32 'abs offset value))

;; ---------------------------------------------------------------------------------------------------- descriptors

;; At most `size` bytes from a descriptor, or eof.
(define (read-some descriptor size)
  (define count (call READ descriptor data-address (min size data-size)))
  (cond
    [(and (< count 0) (= (saved-errno) EINTR)) (read-some descriptor size)]
    [(= (must 'read count) 0) eof]
    [else
     (define bytes (make-bytes count))
     (memcpy bytes data count)
     bytes]))

;; Exactly `size` bytes, or eof if the descriptor ends before.
(define (read-exactly descriptor size)
  (define bytes (make-bytes size))
  (let loop ([position 0])
    (define part (if (= position size) #"" (read-some descriptor (- size position))))
    (cond
      [(eof-object? part) eof]
      [(= position size) bytes]
      [else
       (bytes-copy! bytes position part)
       (loop (+ position (bytes-length part)))])))

(define (write-all descriptor bytes)
  (let loop ([position 0])
    (define size (min data-size (- (bytes-length bytes) position)))
    (when (> size 0)
      (memcpy data 0 bytes position size)
      (define count (call WRITE descriptor data-address size))
      (unless (and (< count 0) (= (saved-errno) EINTR))
        (must 'write count))
      (loop (+ position (max count 0))))))

(define (read-file path)
  (define descriptor (open-path path 0))
  (begin0 (let loop ([parts '()])
            (define part (read-some descriptor data-size))
            (if (eof-object? part)
                (apply bytes-append (reverse parts))
                (loop (cons part parts))))
          (close-descriptor descriptor)))

(define (open-path path flags)
  (define name (bytes-append path #"\0"))
  (memcpy data name (bytes-length name))
  (must 'open (call OPENAT -100 data-address flags 0)))

(define (close-descriptor descriptor)
  (call CLOSE descriptor))

(define O-CLOEXEC #o2000000)
(define O-NONBLOCK #o4000)

;; -> read end, write end
(define (open-pipe [flags 0])
  (must 'pipe2 (call PIPE2 scratch-address (bitwise-ior O-CLOEXEC flags)))
  (values (ptr-ref scratch _int32 'abs 0) (ptr-ref scratch _int32 'abs 4)))

(define POLLIN 1)

(define (readable? descriptor timeout-ms)
  (define microseconds (inexact->exact (ceiling (* 1000 timeout-ms))))
  (set-int32! 0 descriptor)
  (set-int32! 4 POLLIN)
  (set-int64! 16 (quotient microseconds 1000000))
  (set-int64! 24 (* 1000 (remainder microseconds 1000000)))
  (> (call PPOLL scratch-address 1 (+ scratch-address 16) 0 8) 0))

;; Waits until the descriptor has data or ends. -> whether it has data
(define (wait-for-data descriptor)
  (set-int32! 0 descriptor)
  (set-int32! 4 POLLIN)
  (if (> (call PPOLL scratch-address 1 0 0 8) 0)
      (odd? (quotient (ptr-ref scratch _int32 'abs 4) 65536)) ; revents, the upper half
      (wait-for-data descriptor)))

;; --------------------------------------------------------------------------------------------------------- frames

(define (u32 n) (integer->integer-bytes n 4 #f #t))
(define (u32-at bytes position) (integer-bytes->integer bytes #f #t position (+ position 4)))

;; A frame's fields as a list of bytes, or eof at the descriptor's end.
(define (read-frame descriptor)
  (define (number)
    (define bytes (read-exactly descriptor 4))
    (if (eof-object? bytes) bytes (u32-at bytes 0)))
  (define count (number))
  (if (eof-object? count)
      eof
      (for/list ([_ (in-range count)])
        (read-exactly descriptor (number)))))

(define (write-frame descriptor fields)
  (write-all descriptor (encode-frame fields)))

(define (encode-frame fields)
  (apply bytes-append
         (u32 (length fields))
         (for/list ([field (in-list fields)])
           (bytes-append (u32 (bytes-length field)) field))))

;; ---------------------------------------------------------------------------------------------------------- claims

;; A child's claim, outside Racket's heap and wiped after use: later children inherit all memory, and the next program
;; may be asked for the same values.
(define claim-room 65536)
(define claim (malloc claim-room 'raw))
(define claim-size 0)

(define (address-of memory) (cast memory _pointer _intptr))

(define (grow-claim)
  (define larger (malloc (* 2 claim-room) 'raw))
  (memcpy larger claim claim-size)
  (memset claim 0 claim-size)
  (free claim)
  (set! claim larger)
  (set! claim-room (* 2 claim-room)))

(define (wipe-claim)
  (memset claim 0 claim-size)
  (set! claim-size 0))

;; Appends the descriptor's data to the claim. -> number of bytes, 0 at the end
(define (read-claim descriptor)
  (when (= claim-size claim-room)
    (grow-claim))
  (define count (call READ descriptor (+ (address-of claim) claim-size) (- claim-room claim-size)))
  (cond
    [(and (< count 0) (= (saved-errno) EINTR)) (read-claim descriptor)]
    [else
     (set! claim-size (+ claim-size (must 'read count)))
     count]))

;; Reads the claim until the descriptor's end. Ends early as 'wall after `wall-s` seconds, as 'cpu if the process used
;; more than `cpu-s`, as 'size if more than `max-bytes` came. -> 'end or the reason
(define (collect-claim descriptor pid wall-s cpu-s max-bytes)
  (define deadline-ms (+ (current-inexact-monotonic-milliseconds) (* 1000 wall-s)))
  (let loop ()
    (define left-ms (- deadline-ms (current-inexact-monotonic-milliseconds)))
    (define cpu-left-ms (* 1000 (- cpu-s (cpu-seconds pid))))
    (cond
      [(<= left-ms 0) 'wall]
      [(<= cpu-left-ms 0) 'cpu]
      [(> claim-size max-bytes) 'size]
      [(readable? descriptor (min left-ms (max 5 (min 50 cpu-left-ms))))
       (if (= (read-claim descriptor) 0)
           'end
           (loop))]
      [else (loop)])))

(define (claim-u32 position)
  (for/fold ([n 0]) ([i (in-range 4)])
    (+ (* 256 n) (ptr-ref claim _uint8 (+ position i)))))

;; Where each field of the claim starts, and the claim's end; or #f if it is not one whole frame.
(define (claim-positions)
  (define count (and (>= claim-size 4) (claim-u32 0)))
  (let loop ([left count] [position 4] [starts '()])
    (cond
      [(not left) #f]
      [(= left 0) (and (= position claim-size) (reverse (cons position starts)))]
      [(> (+ position 4) claim-size) #f]
      [else
       (define end (+ position 4 (claim-u32 position)))
       (and (<= end claim-size) (loop (sub1 left) end (cons position starts)))])))

;; The first field as bytes; #"" if it is longer than any status.
(define (claim-status)
  (define size (claim-u32 4))
  (define status (make-bytes (if (<= size 32) size 0)))
  (memcpy status 0 claim 8 (bytes-length status))
  status)

;; Writes the claim as a reply: `figures`, two fields, go after the first three.
(define (send-claim descriptor positions figures)
  (define head-end (list-ref positions 3))
  (write-all descriptor (u32 (+ (length positions) 1)))
  (write-memory descriptor (+ (address-of claim) 4) (- head-end 4))
  (for ([figure (in-list figures)])
    (write-all descriptor (bytes-append (u32 (bytes-length figure)) figure)))
  (write-memory descriptor (+ (address-of claim) head-end) (- claim-size head-end)))

(define (write-memory descriptor address size)
  (when (> size 0)
    (define count (call WRITE descriptor address size))
    (unless (and (< count 0) (= (saved-errno) EINTR))
      (must 'write count))
    (write-memory descriptor (+ address (max count 0)) (- size (max count 0)))))

;; ------------------------------------------------------------------------------------------------------- children

(define CLONE-NEWPID #x20000000)
(define SIGCHLD 17)
(define SIGKILL 9)

;; -> 0 in the child, its pid in the parent
(define (fork-child new-pid-namespace?)
  (must 'clone (call CLONE (bitwise-ior SIGCHLD (if new-pid-namespace? CLONE-NEWPID 0)))))

(define (kill-child pid)
  (call KILL pid SIGKILL))

;; -> exit code or #f, signal or #f, peak memory in MiB
(define (wait-child pid)
  (define result (call WAIT4 pid scratch-address 0 (+ scratch-address 16)))
  (cond
    [(and (< result 0) (= (saved-errno) EINTR)) (wait-child pid)]
    [else
     (must 'wait4 result)
     (define status (ptr-ref scratch _int32 'abs 0))
     (define signal (bitwise-and status 127))
     (values (and (= signal 0) (arithmetic-shift status -8)) (and (> signal 0) signal) (rusage-memory-mib 16))]))

;; struct rusage: two timevals, then ru_maxrss in KiB
(define (rusage-memory-mib offset)
  (/ (ptr-ref scratch _int64 'abs (+ offset 32)) 1024.0))

(define (peak-memory-mib)
  (call GETRUSAGE 0 scratch-address)
  (rusage-memory-mib 0))

;; CPU time of a process that is not waited for yet, all its threads together; 0 if it has ended.
(define (cpu-seconds pid)
  (define clock (bitwise-ior (arithmetic-shift (bitwise-not pid) 3) 2))
  (if (< (call CLOCK-GETTIME clock scratch-address) 0)
      0.0
      (+ (ptr-ref scratch _int64 'abs 0) (/ (ptr-ref scratch _int64 'abs 8) 1e9))))

(define (exit-process code)
  (call EXIT-GROUP code))

;; ------------------------------------------------------------------------------------------------------ hardening

(define PR-SET-PDEATHSIG 1)
(define PR-SET-DUMPABLE 4)
(define PR-SET-SECCOMP 22)
(define PR-SET-NO-NEW-PRIVS 38)
(define SECCOMP-MODE-FILTER 2)
(define RLIMIT-CPU 0)
(define RLIMIT-AS 9)
(define O-RDWR 2)
(define CAPABILITY-VERSION-3 #x20080522)

;; Processes of the same user can neither trace this one nor read its memory.
(define (refuse-peers)
  (must 'prctl (call PRCTL PR-SET-DUMPABLE 0)))

;; The descriptors above 3 that Racket's scheduler holds: a list of (list 'pipe read-end write-end), (list 'epoll n).
;; Call it before any other descriptor is opened.
(define (scheduler-descriptors)
  (define open
    (for*/list ([name (in-list (directory-list "/proc/self/fd"))]
                [number (in-value (string->number (path->string name)))]
                #:when (> number 3)
                [target (in-value (descriptor-target name))]
                #:when (regexp-match? #rx"^(pipe:|anon_inode:.eventpoll)" target))
      (cons target number)))
  (define-values (epolls pipes) (partition (lambda (entry) (regexp-match? #rx"eventpoll" (car entry))) open))
  (append (for/list ([entry (in-list epolls)])
            (list 'epoll (cdr entry)))
          (for/list ([ends (in-list (group-by car pipes))]
                     #:when (= (length ends) 2))
            (cons 'pipe (sort (map cdr ends) <)))))

(define (descriptor-target name)
  (with-handlers ([exn:fail:filesystem? (lambda (_) "")]) ; the descriptor that listed the folder is closed by now
    (path->string (resolve-path (build-path "/proc/self/fd" name)))))

;; In a child: a new session, death with the parent, /dev/null on descriptors 0 to 3, new ones for the scheduler's, and
;; all others closed except `kept`.
(define (isolate kept scheduler)
  (must 'setsid (call SETSID))
  (must 'prctl (call PRCTL PR-SET-PDEATHSIG SIGKILL))
  (define null-device (open-path #"/dev/null" O-RDWR))
  (for ([descriptor (in-range 4)])
    (must 'dup3 (call DUP3 null-device descriptor 0)))
  (for ([entry (in-list scheduler)])
    (define-values (fresh-ones)
      (case (car entry)
        [(epoll) (list (must 'epoll_create1 (call EPOLL-CREATE1 O-CLOEXEC)))]
        [else (call-with-values (lambda () (open-pipe O-NONBLOCK)) list)]))
    (for ([fresh (in-list fresh-ones)]
          [old (in-list (cdr entry))])
      (must 'dup3 (call DUP3 fresh old O-CLOEXEC))))
  (define numbers (sort (cons kept (append* (map cdr scheduler))) <))
  (for ([before (in-list (cons 3 numbers))]
        [after (in-list (append numbers (list #x7fffffff)))]
        #:when (< (add1 before) after))
    (must 'close_range (call CLOSE-RANGE (add1 before) (sub1 after)))))

;; If memory runs out, Racket aborts in the middle of a collection, where no Racket code can run, and PID 1 ignores
;; SIGABRT unless it has a handler. So the handler is a few machine instructions: write the frame of
;; `fields` to `descriptor`, exit.
(define SIGABRT 6)
(define SA-RESTORER #x04000000) ; x86-64 needs one; it is never reached
(define PROT-READ+WRITE 3)
(define PROT-READ+EXEC 5)
(define MAP-PRIVATE+ANONYMOUS #x22)
(define page-size 65536)
(define (on-abort descriptor fields)
  (define frame (encode-frame fields))
  (define frame-memory (malloc (bytes-length frame) 'raw))
  (memcpy frame-memory frame (bytes-length frame))
  (define code (write-and-exit-code descriptor (cast frame-memory _pointer _intptr) (bytes-length frame)))
  (define page (must 'mmap (call MMAP 0 page-size PROT-READ+WRITE MAP-PRIVATE+ANONYMOUS -1 0)))
  (memcpy (cast page _intptr _pointer) code (bytes-length code))
  (must 'mprotect (call MPROTECT page page-size PROT-READ+EXEC))
  (set-int64! 0 page)
  (set-int64! 8 SA-RESTORER)
  (set-int64! 16 page)
  (set-int64! 24 0)
  (must 'rt_sigaction (call SIGACTION SIGABRT scratch-address 0 8)))

;; Instructions for write(descriptor, address, size) and exit_group(0).
(define (write-and-exit-code descriptor address size)
  (define (le number width) (integer->integer-bytes number width #f #f))
  (case (system-type 'arch)
    [(x86_64)
     (define (registers eax edi) (bytes-append (bytes #xb8) (le eax 4) (bytes #xbf) (le edi 4)))
     (bytes-append (bytes #x48 #xbe) (le address 8) (bytes #xba) (le size 4)
                   (registers WRITE descriptor) (bytes #x0f #x05) (registers EXIT-GROUP 0) (bytes #x0f #x05))]
    [else
     (define (move register number shift) ; movz, movk
       (le (bitwise-ior (if (= shift 0) #xd2800000 #xf2800000)
                        (arithmetic-shift (quotient shift 16) 21)
                        (arithmetic-shift (bitwise-and #xffff (arithmetic-shift number (- shift))) 5)
                        register)
           4))
     (define supervisor-call (le #xd4000001 4))
     (bytes-append (move 0 descriptor 0)
                   (move 1 address 0) (move 1 address 16) (move 1 address 32) (move 1 address 48)
                   (move 2 size 0)
                   (move 8 WRITE 0) supervisor-call
                   (move 0 0 0) (move 8 EXIT-GROUP 0) supervisor-call)]))

(define (limit resource value)
  (set-int64! 0 value)
  (set-int64! 8 value)
  (must 'prlimit (call PRLIMIT 0 resource scratch-address 0)))

;; `memory-mib` on top of the address space in use now.
(define (limit-memory memory-mib)
  (define pages (string->number (bytes->string/latin-1 (car (regexp-match #rx"^[0-9]+" (read-file #"/proc/self/statm"))))))
  (limit RLIMIT-AS (+ (* pages 4096) (* memory-mib 1048576))))

(define (limit-cpu cpu-s)
  (limit RLIMIT-CPU (add1 (inexact->exact (ceiling cpu-s)))))

(define (drop-capabilities)
  (set-int32! 0 CAPABILITY-VERSION-3)
  (set-int32! 4 0)
  (for ([offset (in-range 16 40 8)])
    (set-int64! offset 0))
  (must 'capset (call CAPSET scratch-address (+ scratch-address 16))))

;; path of a seccomp program -> struct sock_fprog in memory that stays
(define (load-filter path)
  (define instructions (read-file path))
  (define size (bytes-length instructions))
  (define memory (malloc (+ 16 size) 'raw))
  (memcpy memory 16 instructions size)
  (ptr-set! memory _int64 'abs 0 0)
  (ptr-set! memory _uint16 'abs 0 (quotient size 8))
  (ptr-set! memory _intptr 'abs 8 (+ 16 (cast memory _pointer _intptr)))
  memory)

(define (install-filter filter)
  (must 'prctl (call PRCTL PR-SET-NO-NEW-PRIVS 1))
  (must 'prctl (call PRCTL PR-SET-SECCOMP SECCOMP-MODE-FILTER (cast filter _pointer _intptr))))
