"""Racket: values, errors by kind, limits, hardening, speed, through a real pool."""

import json
import random
import re
import resource
import subprocess
import time

import pytest
from racket_programs import ANY_VALUE, SCANS_MEMORY, VALUES

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.inside import protocol
from executors.languages.racket import canonical_program, compile_harness
from executors.sandbox.launch import Tier

RACKET = LANGUAGES["racket"]
LIMITS = Limits(wall_s=20.0, cpu_s=10.0, memory_mib=256, value_chars=4096)

needs_racket = pytest.mark.skipif(RACKET.find() is None, reason=f"racket is not installed: {RACKET.install_hint}")


@pytest.fixture(scope="module")
def pool():
    if RACKET.find() is None:
        pytest.skip(f"racket is not installed: {RACKET.install_hint}")
    compile_harness()
    with Pool("racket", workers=1, limits=LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def hurried_pool(pool):
    with Pool("racket", workers=1, limits=Limits(wall_s=2.0, cpu_s=1.0, memory_mib=256)) as hurried:
        yield hurried


def evaluate(pool, source, *inputs, **fields):
    return pool.submit(Job("job", JobKind.EVALUATE, source, inputs or ("0",), **fields)).result()


def canonical(pool, text):
    return pool.submit(Job("value", JobKind.VALUE, inputs=(text,))).result()


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("#lang racket\n; c\n(define (f x)\n  [let ([y 1]) #;(a #;b c) x])", "(define (f x) (let ((y 1)) x))"),
        ("#| #| n |# |##lang racket\n(f)", "(f)"),
        ("#lang racket/base\n( f )", "#lang racket/base (f)"),
        ("#;#;a b c", "c"),
        ("(a'b `(,@c) #'d)", "(a 'b `(,@c) #'d)"),
        ("(#\\; #\\( #\\space #\\  |a ;b| \"; \\\" #|\")", "(#\\; #\\( #\\space #\\  |a ;b| \"; \\\" #|\")"),
        ("#<<END\n a ; b\nEND\n(c)", "#<<END\n a ; b\nEND\n(c)"),
        ("#hash((a . 1))  #(1) #&2 #rx\"a\" #:k", '#hash((a . 1)) #(1) #&2 #rx"a" #:k'),
        (" (unclosed \" string ", '(unclosed " string'),
        ("", ""),
    ],
)  # fmt: skip
def test_canonical_program_folds_space_and_comments_only(source, folded):
    assert canonical_program(source) == folded
    assert canonical_program(folded) == folded


def test_canonical_program_tells_strings_and_names_apart():
    texts = ['(f "a b")', '(f "a  b")', "(f a b)", "(f ab)", "(f |a b|)", "(f 'a b)", "(f #;a b)"]
    assert len({canonical_program(text) for text in texts}) == len(texts)


@needs_racket
@pytest.mark.parametrize("text", VALUES)
def test_values(pool, text):
    verdict = canonical(pool, text)
    if VALUES[text] is None:
        assert verdict.status is Status.FORBIDDEN, verdict
    else:
        assert verdict.values == (VALUES[text],), verdict
        assert canonical(pool, VALUES[text]).values == verdict.values


@needs_racket
def test_inputs_may_hold_arithmetic(pool):
    assert evaluate(pool, "(define (f x) x)", "(list (+ 0.1 0.2) (- 5) (/ 1 3))").values == (
        "(list 0.30000000000000004 -5 1/3)",
    )


@needs_racket
def test_an_argument_stays_mutable_beside_one_that_is_evaluated(pool):
    """`(vector 3 1)` is read and `(add1 0)` is evaluated: a quoted vector, string, or box could not be changed."""
    program = "(define (f n v s b) (vector-set! v n 9) (string-set! s n #\\z) (set-box! b n) (list v s b))"
    verdict = evaluate(pool, program, '(add1 0) (vector 3 1) (string-copy "ab") (box 5)')
    assert verdict.inputs == ('1 (vector 3 1) (string-copy "ab") (box 5)',)
    assert verdict.values == ('(list (vector 3 9) "az" (box 1))',)
    keyed = evaluate(pool, "(define (f n #:v v) (vector-set! v n 9) v)", "(add1 0) #:v (vector 3 (vector 1))")
    assert (keyed.inputs, keyed.values) == (("1 #:v (vector 3 (vector 1))",), ("(vector 3 9)",))
    assert evaluate(pool, "(define (f n v) (immutable? v))", "(add1 0) '#(1 2)").values == ("#t",)


@needs_racket
def test_plain_values_are_canonical(pool):
    """What `plain_value` matches is its own canonical text, so it needs no process to be read back."""
    draw = random.Random(0)
    atoms = [lambda: str(draw.randrange(-(10**20), 10**20)), lambda: draw.choice(("#t", "#f", "'()", "'a-b", '"a, b"'))]
    atoms += [lambda: f"{draw.choice(('', '-'))}{draw.randrange(10**7)}.{draw.randrange(10**4):04}".rstrip("0")]
    atoms += [lambda: f"{draw.choice(('', '-'))}{draw.randrange(2)}.{draw.choice(('0', '0001', '001', '1'))}"]
    texts = [draw.choice(atoms)() for _ in range(300)]
    texts += [f"({draw.choice(('list', 'vector'))} {' '.join(draw.sample(texts[:300], 3))})" for _ in range(100)]
    plain = [text for text in texts if re.fullmatch(RACKET.plain_value, text)]
    assert len(plain) > 200
    source = "(define (f x) (read (open-input-string x)))"
    quoted = [json.dumps(text) for text in plain if not text.startswith(("(", "'", '"'))]
    assert list(evaluate(pool, source, *quoted, together=True).values) == [json.loads(text) for text in quoted]
    composed = [text for text in plain if text.startswith("(")]
    assert list(evaluate(pool, "(define (f x) x)", *composed, together=True).values) == composed


@needs_racket
@pytest.mark.parametrize(
    ("source", "status", "kind"),
    [
        ("(define (f x) (+ x y))", Status.SYNTAX_ERROR, "exn:fail:syntax:unbound"),
        ("(define (f x)", Status.SYNTAX_ERROR, "exn:fail:read:eof"),
        ("(define (f x) x))", Status.SYNTAX_ERROR, "exn:fail:read"),
        ("(require no/such)", Status.SYNTAX_ERROR, "exn:fail:syntax:missing-module"),
        ("#lang no-such\n1", Status.SYNTAX_ERROR, "exn:fail:filesystem:missing-module"),
        ("(define (f x) (car x))", Status.RUNTIME_ERROR, "exn:fail:contract"),
        ("(define (f x) (/ 1 x))", Status.RUNTIME_ERROR, "exn:fail:contract:divide-by-zero"),
        ("(define (f x y) x)", Status.RUNTIME_ERROR, "exn:fail:contract:arity"),
        ("(define (f x) (raise 'oops))", Status.RUNTIME_ERROR, "raise"),
        ("(define (f x) (eval 'y))", Status.RUNTIME_ERROR, "exn:fail:syntax"),
        ("(define (g x) x)", Status.RUNTIME_ERROR, "missing_function"),
        ("(define f 5)", Status.RUNTIME_ERROR, "missing_function"),
        ("(define (f x) (kill-thread (current-thread)))", Status.RUNTIME_ERROR, "thread_killed"),
        ("(define (f x) (tcp-connect \"127.0.0.1\" 80))", Status.RUNTIME_ERROR, "exn:fail:network"),
        ("(define (f x) (exit 3))", Status.EXIT, "exit"),
        ("(exit)", Status.EXIT, "exit"),
        ("(define (f x) (values x x))", Status.UNSERIALISABLE, "values"),
        ("(define (f x) f)", Status.UNSERIALISABLE, "procedure"),
        ("(define (f x) (gensym))", Status.UNSERIALISABLE, "uninterned symbol"),
        ("(struct p (x) #:transparent) (define (f x) (p x))", Status.UNSERIALISABLE, "struct"),
        ("(define (f x) (stream 1 2))", Status.UNSERIALISABLE, "opaque"),
        ("(define (f x) (delay 1))", Status.UNSERIALISABLE, "opaque"),
        ("(define (f x) (current-output-port))", Status.UNSERIALISABLE, "port"),
        ("(define (f x) (let ([b (box 1)]) (set-box! b b) b))", Status.UNSERIALISABLE, "cyclic"),
        ("(define (f x) (shared ([a (cons 1 a)]) a))", Status.UNSERIALISABLE, "cyclic"),
        ("(define (f x) (for/fold ([a 1]) ([_ 600]) (list a)))", Status.UNSERIALISABLE, "nested too deep"),
        ("(define (f x) (make-string 5000 #\\a))", Status.OUTPUT_LIMIT, "value"),
        ("(define (f x) (expt 7 1000000))", Status.OUTPUT_LIMIT, "value"),
        ("(define (f x) (range 100000))", Status.OUTPUT_LIMIT, "value"),
        ("(define (f x) (make-string 100000000 #\\a))", Status.MEMORY, "abort"),
    ],
)  # fmt: skip
def test_outcomes_by_kind(pool, source, status, kind):
    verdict = evaluate(pool, source)
    assert (verdict.status, verdict.error_kind) == (status, kind), verdict


@needs_racket
def test_printing_and_equality_of_the_program_count_for_nothing(pool):
    custom = """
    (struct fake (v) #:property prop:custom-write (lambda (s p m) (write-string "42" p))
      #:property prop:equal+hash (list (lambda (a b r) #t) (lambda (a r) 0) (lambda (a r) 0)))"""
    assert evaluate(pool, custom + "(define (f x) (fake 7))").status is Status.UNSERIALISABLE
    assert evaluate(pool, custom + "(define (f x) (hash (fake 7) 1))").status is Status.UNSERIALISABLE
    settings = """
    (print-graph #t) (read-case-sensitive #f) (print-as-expression #f) (current-print void)
    (global-port-print-handler void) (current-locale "C") (error-value->string-handler void)
    (define (f x) (list 'Ab "é" 1.0 x))"""
    assert evaluate(pool, settings, "#\\a").values == ('(list \'Ab "é" 1.0 #\\a)',)
    impersonated = "(define (f x) (impersonate-vector (vector 1) (lambda (v i e) (raise 'no)) (lambda (v i e) e)))"
    assert evaluate(pool, impersonated).status is Status.UNSERIALISABLE


@needs_racket
def test_each_value_is_written_down_before_the_next_call(pool):
    source = "(define v (vector 0)) (define (f x) (vector-set! v 0 x) v)"
    assert evaluate(pool, source, "1", "2").values == ("(vector 1)", "(vector 2)")


@needs_racket
def test_a_program_has_no_arguments(pool):
    source = "(require racket/cmdline)\n(command-line)\n(define (f x) (current-command-line-arguments))"
    assert evaluate(pool, source).values == ("(vector)",)


@needs_racket
def test_exact_types_are_told_apart(pool):
    texts = ["1", "1.0", "#t", '"1"', "'|1|", "#\\1", "(list 1)", "(vector 1)", "(set 1)", "(cons 1 1)"]
    for answer in texts:
        for expected in texts:
            job = Job("check", JobKind.VALUE, inputs=(answer,), expect=(expected,))
            assert pool.submit(job).result().correct is (answer == expected)


@needs_racket
@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("(define (f x) (random 1000000))", False),
        ("(define (f x) (current-inexact-milliseconds))", False),
        ("(define (f x) (eq-hash-code (vector)))", False),
        ("(define (f x) (for/list ([(k v) (make-hash (map (lambda (i) (cons (~a i) i)) (range 30)))]) k))", True),
        ("(random-seed 1) (define (f x) (random 1000000))", True),
    ],
)
def test_determinism(pool, source, same):
    verdict = evaluate(pool, source, determinism=True)
    assert verdict.status is (Status.OK if same else Status.NONDETERMINISTIC), verdict


@pytest.mark.ci
@needs_racket
def test_limits():
    limits = Limits(wall_s=2.0, cpu_s=1.0, memory_mib=128)
    with Pool("racket", workers=1, limits=limits) as pool:
        asleep = evaluate(pool, "(define (f x) (sleep 100))")
        assert (asleep.status, asleep.error_kind) == (Status.TIMEOUT, "wall")
        assert 2.0 <= asleep.seconds < 2.5
        busy = evaluate(pool, "(define (f x) (f x))")
        assert busy.status is Status.TIMEOUT
        hungry = evaluate(pool, "(define (f x) (let loop ([kept '()]) (loop (cons (make-bytes 10000000) kept))))")
        assert hungry.status is Status.MEMORY
        assert evaluate(pool, RACKET.identity, "1").values == ("1",)


@needs_racket
def test_a_child_holds_nothing_of_its_parent(pool):
    status = """
    (define (f name)
      (define text (file->string "/proc/self/status"))
      (cadr (regexp-match (pregexp (string-append name ":.*?(\\\\S+)\n")) text)))"""
    names = ['"CapEff"', '"CapPrm"', '"Seccomp"', '"NoNewPrivs"']
    assert evaluate(pool, status, *names).values == ('"0000000000000000"', '"0000000000000000"', '"2"', '"1"')
    if pool.tier is Tier.NAMESPACES:
        # Its process number in its own namespace comes last.
        assert evaluate(pool, status, '"NSpid"').values == ('"1"',)
    # Descriptors: /dev/null four times, the reply's pipe, a pipe and an epoll of its own, and the folder being listed.
    descriptors = """
    (define (f x)
      (for/list ([name (directory-list "/proc/self/fd")])
        (with-handlers ([void (lambda (_) "gone")])
          (car (string-split (path->string (resolve-path (build-path "/proc/self/fd" name))) ":[" #:trim? #f)))))"""
    value = evaluate(pool, descriptors).values[0]
    names = re.findall(r'"([^"]*)"', value)
    assert names.count("/dev/null") == 4
    assert set(names) <= {"/dev/null", "pipe", "anon_inode", "gone"} | {n for n in names if n.startswith("/proc/")}
    assert names.count("pipe") <= 3
    writes = '(define (f x) (with-output-to-file x (lambda () (display "late"))))'
    for path in ("/tmp/a", "/var/tmp/a", "/dev/shm/a", "/azr/a"):
        assert evaluate(pool, writes, json.dumps(path)).status is Status.RUNTIME_ERROR


@needs_racket
def test_nothing_stays_from_one_program_to_the_next(pool):
    evaluate(pool, '(putenv "LEAK" "1") (namespace-set-variable-value! \'leak 1 #t) (define (f x) (gensym))')
    evaluate(pool, "(module leak racket (provide y) (define y 1)) (define (f x) 1)")
    look = """
    (define (f x)
      (list (getenv "LEAK") (with-handlers ([exn:fail? (lambda (_) #f)]) (namespace-variable-value 'leak #t))
            (with-handlers ([exn:fail? (lambda (_) #f)]) (dynamic-require ''leak 'y))))"""
    assert evaluate(pool, look).values == ("(list #f #f #f)",)


@needs_racket
def test_earlier_requests_are_not_in_memory(pool):
    """What was expected of earlier programs, and what they claimed: a later one could answer with it."""
    marker = "expected-" + "7f3a" * 6
    claims = f'(define (f x) (list (list x "{marker}")))'
    for number in range(5):
        verdict = evaluate(pool, claims, str(number), expect=(f'(list (list "{marker}" {number}))',))
        assert (verdict.status, verdict.correct) == (Status.OK, False)
    assert evaluate(pool, SCANS_MEMORY, f'"{marker[::-1]}"').values == ("0",)


C_WRITE = """(require ffi/unsafe)
(define c-write (get-ffi-obj "write" #f (_fun _int _bytes _intptr -> _intptr)))
(define c-exit (get-ffi-obj "_exit" #f (_fun _int -> _int)))
(define (to-all b) (for ([i 64]) (c-write i b (bytes-length b))))
"""


def frame(*fields):
    """A frame as a Racket byte string."""
    data = protocol.encode([field.encode() for field in fields])
    return '#"' + "".join(f"\\{byte:03o}" for byte in data) + '"'


@needs_racket
@pytest.mark.parametrize(
    ("source", "statuses"),
    [
        # A frame of the program's own: at most a claim, and never of a status that is not its to give.
        (C_WRITE + f"(define (f x) (to-all {frame('ok', '', '', 'not canonical')}) (c-exit 0))", "unserialisable"),
        (C_WRITE + f"(define (f x) (to-all {frame('timeout', '', '')}) (c-exit 0))", "exit"),
        (C_WRITE + f"(define (f x) (to-all {frame('ok', '', '', '1', '2')}) (c-exit 0))", "exit"),
        (C_WRITE + "(define (f x) (let loop () (to-all (make-bytes 1000000 1)) (loop)))", "output_limit"),
        ('(require ffi/unsafe) (define (f x) (for ([i 64]) ((get-ffi-obj "close" #f (_fun _int -> _int)) i)))',
         "crash exit timeout runtime_error"),
        ('(require ffi/unsafe) (define (f x) ((get-ffi-obj "munmap" #f (_fun _intptr _intptr -> _int)) 0 (expt 2 46)))',
         "crash exit"),
        ("(require ffi/unsafe/vm) (define (f x) (vm-eval '(exit 0)))", "exit"),
        ("(require ffi/unsafe/atomic) (define (f x) (start-atomic) (let loop () (loop)))", "timeout"),
        ("(define (f x) (custodian-shutdown-all (current-custodian)))", "runtime_error"),
        ("(define-syntax (m stx) (let loop () (loop))) (define (f x) (m))", "timeout"),
        ("(define-syntax (m stx) (exit 0)) (m) (define (f x) 1)", "exit"),
        (f"(define (f x) {'(' * 100000}", "syntax_error memory timeout"),
        ("(define (f x) (for ([_ 50]) (thread (lambda () (let loop () (loop))))) 5)", "ok"),
        ("(define (f x) (error (make-string 1000000 #\\a)))", "runtime_error"),
        ("(error-display-handler (lambda _ (let loop () (loop)))) (define (f x) (error 'a))", "runtime_error"),
        ("(define k #f) (define (f x) (call/cc (lambda (c) (set! k c))) (if (< x 3) x (k 1)))", "ok"),
        ("(require ffi/unsafe) (define (f x) ((get-ffi-obj \"abort\" #f (_fun -> _int))))", "memory crash exit"),
    ],
)  # fmt: skip
def test_hostile_programs(hurried_pool, source, statuses):
    verdict = evaluate(hurried_pool, source)
    assert verdict.status.value in statuses.split(), verdict
    assert len(verdict.message) <= LIMITS.message_chars
    assert evaluate(hurried_pool, RACKET.identity, "1").values == ("1",)


@needs_racket
def test_values_of_all_kinds_read_back(pool):
    """The pool reads every claimed value back and refuses one whose text is not its own canonical text."""
    for start in range(0, 300, 50):
        verdict = evaluate(pool, ANY_VALUE, *(str(seed) for seed in range(start, start + 50)), together=True)
        assert verdict.status is Status.OK, verdict
        assert len(set(verdict.values)) > 30


@needs_racket
@pytest.mark.slow
def test_warm_is_at_least_12_times_faster_than_cold(tmp_path):
    """A program's least time, served and pool included, against the least CPU time of `racket FILE`, in this run."""
    compile_harness()
    source = "#lang racket\n(define (f n) (for/list ([i (in-range n)] #:when (even? i)) (* i i)))\n"
    file = tmp_path / "program.rkt"
    file.write_text(source + "(f 10)\n")

    def cold_s():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["racket", str(file)], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    with Pool("racket", workers=1, limits=LIMITS) as pool:
        evaluate(pool, source, "10")
        warm_s = []
        for _ in range(50):
            begin = time.perf_counter()
            assert evaluate(pool, source, "10").status is Status.OK
            warm_s.append(time.perf_counter() - begin)
    # The least of each: the mean of a clock's times is that of whatever else runs.
    assert min(cold_s() for _ in range(5)) / min(warm_s) >= 12
