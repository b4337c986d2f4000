/* The native part of javascript_harness.js: forks, limits, watches and replies.

   Built by `make setup` (javascript.build_addon):  cc -O2 -shared -fPIC -fvisibility=hidden -o X.node javascript_clone.c -lm
   It uses the stable ABI of Node-API, declared here, so that no Node headers are needed.

   serve(filter_path, new_pid)  in the server: answers until the end of descriptor 0, then returns false; in each child: true
   begin(wall_s, cpu_s, memory_mib, value_count, value_chars, message_chars, filter_path)  limits on this process
   finish(frame)                 the claim of a child (status, kind, message, values), a string of bytes; does not return
   exit(code)                    an end without Node's teardown, which would wait for threads that a fork does not have

   A child's claim is believed only after 16 random bytes that are in the child's C memory and the server's alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct napi_env_opaque *napi_env;
typedef struct napi_value_opaque *napi_value;
typedef struct napi_info_opaque *napi_info;
typedef napi_value (*napi_function)(napi_env, napi_info);
extern int napi_create_function(napi_env, const char *, size_t, napi_function, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern int napi_get_cb_info(napi_env, napi_info, size_t *, napi_value *, napi_value *, void **);
extern int napi_get_value_double(napi_env, napi_value, double *);
extern int napi_get_value_bool(napi_env, napi_value, bool *);
extern int napi_get_value_string_latin1(napi_env, napi_value, char *, size_t, size_t *);
extern int napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
extern int napi_get_boolean(napi_env, bool, napi_value *);

enum {
  REQUEST = 0,
  REPLY = 3,
  NONCE_BYTES = 16,
  FILTER_MAX = 4096,
  DESCRIPTORS_MAX = 256,
  KIND_BYTES = 400,         /* 100 characters of at most 4 bytes */
  READ_MS = 10000,          /* for a child to read its request; the clock of the limits starts after it */
  MEMORY_FLOOR_MIB = 64,    /* V8 cannot start less */
  ABORT_EXIT_CODE = 134,    /* how Node itself ends on a fatal error */
  END_GRACE_MS = 200,       /* between the end of a child's pipe and the end of the child */
  INTERNAL_ERROR = 70,
};

/* What a child tells the server before it looks at its program. */
struct limits {
  unsigned char nonce[NONCE_BYTES];
  double wall_s, cpu_s;
  uint64_t memory_mib, value_count, value_chars, message_chars;
};

struct bytes {
  unsigned char *data;
  size_t size, room;
};

static struct sock_filter filter[FILTER_MAX];
static unsigned short filter_length;
static int descriptors[DESCRIPTORS_MAX], descriptor_count;
static int claim_descriptor = -1; /* in a child: its pipe */
static struct limits own;
static double own_start_s;
static uint64_t start_bytes;

static double clock_s(clockid_t id) {
  struct timespec t;
  if (clock_gettime(id, &t) != 0) return 0;
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool read_all(int descriptor, void *data, size_t size) {
  for (size_t at = 0; at < size;) {
    ssize_t count = read(descriptor, (char *)data + at, size - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += (size_t)count;
  }
  return true;
}

static bool write_all(int descriptor, const void *data, size_t size) {
  for (size_t at = 0; at < size;) {
    ssize_t count = write(descriptor, (const char *)data + at, size - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    at += (size_t)count;
  }
  return true;
}

static uint32_t load_u32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put(struct bytes *to, const void *data, size_t size) {
  if (to->size + size > to->room) {
    to->room = 2 * (to->size + size);
    to->data = realloc(to->data, to->room);
    if (to->data == NULL) _exit(INTERNAL_ERROR);
  }
  memcpy(to->data + to->size, data, size);
  to->size += size;
}

static void put_u32(struct bytes *to, uint32_t n) {
  unsigned char p[4] = {n >> 24, n >> 16, n >> 8, n};
  put(to, p, 4);
}

static void put_field(struct bytes *to, const char *text) {
  put_u32(to, (uint32_t)strlen(text));
  put(to, text, strlen(text));
}

/* Whether text is UTF-8 as a strict decoder takes it. */
static bool is_utf8(const unsigned char *p, size_t size) {
  for (size_t i = 0; i < size;) {
    unsigned char c = p[i];
    size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
    if (more == 9 || i + more >= size) return false;
    for (size_t k = 1; k <= more; k++)
      if ((p[i + k] & 0xc0) != 0x80) return false;
    if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f)) return false;
    if ((c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f)) return false;
    i += more + 1;
  }
  return true;
}

/* Whether a claim is one that an honest child makes: a known status, the right number of fields, none too long. */
static bool is_legal(const unsigned char *claim, size_t size, const struct limits *l) {
  static const char *const statuses[] = {"ok",        "syntax_error", "runtime_error", "memory", "output_limit",
                                         "forbidden", "unserialisable"};
  if (size < 4) return false;
  uint32_t count = load_u32(claim);
  bool is_ok = false, is_known = false;
  size_t at = 4;
  for (uint32_t i = 0; i < count; i++) {
    if (size - at < 4) return false;
    size_t length = load_u32(claim + at);
    at += 4;
    if (length > size - at || !is_utf8(claim + at, length)) return false;
    if (i == 0) {
      for (size_t s = 0; s < sizeof statuses / sizeof *statuses; s++)
        if (strlen(statuses[s]) == length && memcmp(statuses[s], claim + at, length) == 0) is_known = true, is_ok = s == 0;
      if (!is_known) return false;
    }
    if (length > (i == 1 ? (size_t)KIND_BYTES : 4 * (i == 2 ? l->message_chars : l->value_chars)) && i > 0) return false;
    at += length;
  }
  return at == size && is_known && count == 3 + (is_ok ? l->value_count : 0);
}

/* Sends the reply for a legal claim: seconds and memory go in after the message. */
static void reply(const unsigned char *claim, size_t size, double seconds, double memory_mib) {
  size_t at = 4;
  for (int i = 0; i < 3; i++) at += 4 + load_u32(claim + at);
  struct bytes out = {0};
  char text[64];
  put_u32(&out, load_u32(claim) + 2);
  put(&out, claim + 4, at - 4);
  snprintf(text, sizeof text, "%.6f", seconds);
  put_field(&out, text);
  snprintf(text, sizeof text, "%.1f", memory_mib);
  put_field(&out, text);
  put(&out, claim + at, size - at);
  if (!write_all(REPLY, out.data, out.size)) _exit(INTERNAL_ERROR);
  free(out.data);
}

static void make_claim(struct bytes *out, const char *status, const char *kind, const char *message) {
  put_u32(out, 3);
  put_field(out, status);
  put_field(out, kind);
  put_field(out, message);
}

/* The writable private memory of this process, which RLIMIT_DATA counts. */
static uint64_t data_bytes(void) {
  char line[256];
  unsigned long kib = 0;
  FILE *status = fopen("/proc/self/status", "re");
  if (status == NULL) _exit(INTERNAL_ERROR);
  while (fgets(line, sizeof line, status) != NULL && sscanf(line, "VmData: %lu", &kib) != 1) {
  }
  fclose(status);
  return (uint64_t)kib * 1024;
}

static void send_claim(const unsigned char *claim, size_t size) {
  if (claim_descriptor < 0) { /* once mode */
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    reply(claim, size, clock_s(CLOCK_MONOTONIC) - own_start_s, (double)usage.ru_maxrss / 1024);
  } else {
    struct bytes out = {0};
    put(&out, own.nonce, NONCE_BYTES);
    put_u32(&out, (uint32_t)size);
    put(&out, claim, size);
    write_all(claim_descriptor, out.data, out.size);
  }
  _exit(0);
}

static void out_of_memory(const char *location, const void *details) {
  (void)location, (void)details;
  static const char claim[] = "\0\0\0\3\0\0\0\6memory\0\0\0\0\0\0\0\0";
  unsigned char message[NONCE_BYTES + 4 + sizeof claim - 1];
  if (claim_descriptor < 0) send_claim((const unsigned char *)claim, sizeof claim - 1);
  /* Nothing can be allocated here. */
  memcpy(message, own.nonce, NONCE_BYTES);
  memcpy(message + NONCE_BYTES, "\0\0\0", 3);
  message[NONCE_BYTES + 3] = sizeof claim - 1;
  memcpy(message + NONCE_BYTES + 4, claim, sizeof claim - 1);
  write_all(claim_descriptor, message, sizeof message);
  _exit(0);
}

/* V8's handler, by the names of both signatures it had (Node 18; 20 and later). Without it the server's guess remains. */
static void handle_out_of_memory(void) {
  void *(*current)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv");
  void *set = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate18SetOOMErrorHandlerEPFvPKcRKNS_10OOMDetailsEE");
  if (set == NULL) set = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate18SetOOMErrorHandlerEPFvPKcbE");
  if (current != NULL && set != NULL)
    ((void (*)(void *, void (*)(const char *, const void *)))set)(current(), out_of_memory);
}

/* ---- in the server ---- */

struct child {
  pid_t pid;
  int pipe;
  double start_s;
  struct limits limits;
  struct bytes claim; /* nonce, u32 length, frame */
};

enum ending { CLAIMED, ENDED, TOO_LONG, TIMED_OUT };

static double wall_left(const struct child *c) {
  return c->limits.wall_s - (clock_s(CLOCK_MONOTONIC) - c->start_s);
}

static double cpu_left(const struct child *c) {
  return c->limits.cpu_s - clock_s((clockid_t)((~(unsigned)c->pid << 3) | 2));
}

/* Collects a child's claim until it is whole, ends, is too long, or time is up. */
static enum ending watch(struct child *c) {
  size_t most = 4 + 12 + 32 + KIND_BYTES + 4 * c->limits.message_chars +
                c->limits.value_count * (4 + 4 * c->limits.value_chars);
  unsigned char chunk[65536];
  for (;;) {
    double wall_s = wall_left(c), cpu_s = cpu_left(c);
    if (wall_s <= 0 || cpu_s <= 0) return TIMED_OUT;
    /* Several threads use processor time faster than the clock runs: look every 20 ms. */
    double step_s = fmin(wall_s, fmin(cpu_s, 0.02));
    struct pollfd p = {c->pipe, POLLIN, 0};
    if (poll(&p, 1, (int)ceil(step_s * 1000)) <= 0) continue;
    ssize_t count = read(c->pipe, chunk, sizeof chunk);
    if (count <= 0) return ENDED;
    put(&c->claim, chunk, (size_t)count);
    if (c->claim.size >= NONCE_BYTES + 4) {
      size_t size = load_u32(c->claim.data + NONCE_BYTES);
      if (memcmp(c->claim.data, c->limits.nonce, NONCE_BYTES) != 0) return ENDED;
      if (size > most) return TOO_LONG;
      if (c->claim.size >= NONCE_BYTES + 4 + size) return CLAIMED;
    }
  }
}

/* Ends a child and everything it started. Returns its wait status; *usage is its own. */
static int reap(struct child *c, bool may_end, struct rusage *usage) {
  int status = 0;
  if (may_end) {
    double until_s = clock_s(CLOCK_MONOTONIC) + END_GRACE_MS / 1000.0;
    do {
      if (wait4(c->pid, &status, WNOHANG, usage) == c->pid) return status;
      usleep(500);
    } while (clock_s(CLOCK_MONOTONIC) < until_s);
  }
  kill(-c->pid, SIGKILL);
  kill(c->pid, SIGKILL);
  while (wait4(c->pid, &status, 0, usage) < 0 && errno == EINTR) {
  }
  return status;
}

static const char *signal_name(int number) {
  switch (number) {
    case SIGABRT: return "SIGABRT";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGILL: return "SIGILL";
    case SIGKILL: return "SIGKILL";
    case SIGSEGV: return "SIGSEGV";
    case SIGSYS: return "SIGSYS";
    case SIGTRAP: return "SIGTRAP";
    case SIGXCPU: return "SIGXCPU";
    default: return "signal";
  }
}

/* The claim that the server makes for a child that made none. */
static void explain(struct bytes *claim, enum ending ending, int status, double peak_mib, const struct limits *l) {
  char message[64];
  claim->size = 0;
  if (ending == TIMED_OUT) {
    make_claim(claim, "timeout", "", "");
  } else if (ending == TOO_LONG) {
    make_claim(claim, "output_limit", "", "the reply is too long");
  } else if (WIFEXITED(status) && WEXITSTATUS(status) != ABORT_EXIT_CODE) {
    snprintf(message, sizeof message, "the process ended with exit code %d", WEXITSTATUS(status));
    make_claim(claim, "exit", "", message);
  } else {
    /* V8's own report of no memory comes as a claim; this is for allocations of other parts of Node. */
    const char *name = signal_name(WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT);
    if (WIFEXITED(status) == 0 && WTERMSIG(status) == SIGXCPU) make_claim(claim, "timeout", "", "");
    else make_claim(claim, peak_mib > 0.8 * (double)l->memory_mib ? "memory" : "crash", name, "");
  }
}

/* Answers the request that waits on descriptor 0 with the child `pid`. False when the child did not read it. */
static bool supervise(pid_t pid, int pipe_end) {
  struct child c = {.pid = pid, .pipe = pipe_end};
  struct rusage usage = {0};
  struct pollfd p = {pipe_end, POLLIN, 0};
  if (poll(&p, 1, READ_MS) <= 0 || !read_all(pipe_end, &c.limits, sizeof c.limits)) {
    reap(&c, false, &usage);
    return false;
  }
  c.start_s = clock_s(CLOCK_MONOTONIC);
  enum ending ending = watch(&c);
  double seconds = clock_s(CLOCK_MONOTONIC) - c.start_s;
  int status = reap(&c, ending == ENDED, &usage);
  double peak_mib = (double)usage.ru_maxrss / 1024;
  const unsigned char *claim = c.claim.data + NONCE_BYTES + 4;
  size_t size = ending == CLAIMED ? load_u32(c.claim.data + NONCE_BYTES) : 0;
  if (ending == CLAIMED && is_legal(claim, size, &c.limits)) {
    reply(claim, size, seconds, peak_mib);
  } else {
    struct bytes own_claim = {0};
    if (ending == CLAIMED) make_claim(&own_claim, "crash", "InvalidReply", "");
    else explain(&own_claim, ending, status, peak_mib, &c.limits);
    reply(own_claim.data, own_claim.size, seconds, peak_mib);
    free(own_claim.data);
  }
  free(c.claim.data);
  return true;
}

/* V8 keeps its heap out of forks (MADV_DONTFORK); asks for all of it back. */
static void keep_memory_in_forks(void) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) _exit(INTERNAL_ERROR);
  unsigned long from, to;
  /* Special mappings of the kernel refuse, and need nothing. */
  while (fscanf(maps, "%lx-%lx%*[^\n]", &from, &to) == 2) madvise((void *)from, to - from, MADV_DOFORK);
  fclose(maps);
}

static void list_descriptors(void) {
  for (int d = REPLY + 1; d < 4096 && descriptor_count < DESCRIPTORS_MAX; d++)
    if (fcntl(d, F_GETFD) >= 0) descriptors[descriptor_count++] = d;
}

/* Keeps the host's filter for children, with a start of our own: no threads either. A program's value must not depend on
   a race, nor its processor time on the number of cores. (The host allows them for runtimes that need one.) */
static void load_filter(napi_env env, napi_value path_value) {
  const struct sock_filter no_threads[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
  };
  memcpy(filter, no_threads, sizeof no_threads);
  filter_length = sizeof no_threads / sizeof *no_threads;
  char path[4096];
  size_t length = 0;
  ssize_t size = 0;
  if (napi_get_value_string_utf8(env, path_value, path, sizeof path, &length) != 0) _exit(INTERNAL_ERROR);
  if (length > 0) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    size = descriptor < 0 ? -1 : read(descriptor, filter + filter_length, sizeof filter - sizeof no_threads);
    if (size <= 0 || size % (ssize_t)sizeof *filter != 0) _exit(INTERNAL_ERROR);
    close(descriptor);
    filter_length += (unsigned short)(size / (ssize_t)sizeof *filter);
  } else {
    filter[filter_length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
}

/* In a new child: /dev/null over everything but the pipe and the request, which it still has to read. libuv's loop is
   left behind with the descriptors under it: nothing in a child ever runs it. */
static void become_child(int pipe_end, int null_descriptor) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(null_descriptor, 1);
  dup2(null_descriptor, 2);
  dup2(null_descriptor, REPLY);
  for (int i = 0; i < descriptor_count; i++)
    if (descriptors[i] != null_descriptor) dup2(null_descriptor, descriptors[i]);
  claim_descriptor = pipe_end;
}

static napi_value boolean(napi_env env, bool value) {
  napi_value result;
  napi_get_boolean(env, value, &result);
  return result;
}

static napi_value serve(napi_env env, napi_info info) {
  size_t count = 2;
  napi_value arguments[2];
  bool new_pid = false;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  napi_get_value_bool(env, arguments[1], &new_pid);
  load_filter(env, arguments[0]);
  int null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_descriptor < 0) _exit(INTERNAL_ERROR);
  handle_out_of_memory();
  list_descriptors();
  start_bytes = data_bytes();
  keep_memory_in_forks();
  prctl(PR_SET_DUMPABLE, 0);
  for (;;) {
    struct pollfd p = {REQUEST, POLLIN, 0};
    int waiting = 0, ends[2];
    if (poll(&p, 1, -1) < 0) continue;
    if (ioctl(REQUEST, FIONREAD, &waiting) != 0 || waiting == 0) return boolean(env, false);
    if (pipe2(ends, O_CLOEXEC) != 0) _exit(INTERNAL_ERROR);
    long pid = syscall(SYS_clone, (new_pid ? CLONE_NEWPID : 0) | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) _exit(INTERNAL_ERROR);
    if (pid == 0) {
      close(ends[0]);
      become_child(ends[1], null_descriptor);
      return boolean(env, true);
    }
    close(ends[1]);
    if (!supervise((pid_t)pid, ends[0])) _exit(INTERNAL_ERROR);
    close(ends[0]);
  }
}

/* ---- in the process that runs the program ---- */

static void limit(int what, uint64_t value) {
  struct rlimit l = {value, value};
  if (setrlimit(what, &l) != 0) _exit(INTERNAL_ERROR);
}

static void harden(void) {
  uint64_t memory_mib = own.memory_mib < MEMORY_FLOOR_MIB ? MEMORY_FLOOR_MIB : own.memory_mib;
  /* Not RLIMIT_AS: V8 reserves gigabytes of addresses that it never uses. */
  limit(RLIMIT_DATA, start_bytes + (memory_mib << 20));
  limit(RLIMIT_CPU, (uint64_t)ceil(own.cpu_s) + 1);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0}};
  if (syscall(SYS_capset, &header, none) != 0) _exit(INTERNAL_ERROR);
  struct sock_fprog program = {filter_length, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(INTERNAL_ERROR);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(INTERNAL_ERROR);
}

static napi_value begin(napi_env env, napi_info info) {
  size_t count = 7;
  napi_value arguments[7];
  double numbers[6] = {0};
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  for (int i = 0; i < 6; i++) napi_get_value_double(env, arguments[i], &numbers[i]);
  own = (struct limits){.wall_s = numbers[0], .cpu_s = numbers[1], .memory_mib = (uint64_t)numbers[2],
                        .value_count = (uint64_t)numbers[3], .value_chars = (uint64_t)numbers[4],
                        .message_chars = (uint64_t)numbers[5]};
  own_start_s = clock_s(CLOCK_MONOTONIC);
  if (claim_descriptor < 0) {
    load_filter(env, arguments[6]);
    start_bytes = data_bytes();
    handle_out_of_memory();
  } else {
    if (getrandom(own.nonce, NONCE_BYTES, 0) != NONCE_BYTES) _exit(INTERNAL_ERROR);
    if (!write_all(claim_descriptor, &own, sizeof own)) _exit(INTERNAL_ERROR);
  }
  int null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_descriptor < 0) _exit(INTERNAL_ERROR);
  dup2(null_descriptor, REQUEST);
  close(null_descriptor);
  harden();
  return NULL;
}

static napi_value finish(napi_env env, napi_info info) {
  size_t count = 1, size = 0;
  napi_value argument;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_string_latin1(env, argument, NULL, 0, &size);
  char *claim = malloc(size + 1);
  if (claim == NULL) out_of_memory("", NULL);
  napi_get_value_string_latin1(env, argument, claim, size + 1, &size);
  send_claim((unsigned char *)claim, size);
  return NULL;
}

static napi_value end(napi_env env, napi_info info) {
  size_t count = 1;
  napi_value argument;
  double code = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_double(env, argument, &code);
  _exit((int)code & 255);
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_function function;
  } functions[] = {{"serve", serve}, {"begin", begin}, {"finish", finish}, {"exit", end}};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].function, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
