/* The native part of harness.js: forks, limits, watches and replies.

   Built by `make setup` (javascript.build_addon):  cc -O2 -shared -fPIC -fvisibility=hidden -o X.node clone.c -lm
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

#include "claim.c"

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

static struct sock_filter filter[FILTER_MAX];
static unsigned short filter_length;
static int descriptors[DESCRIPTORS_MAX], descriptor_count;
static int claim_descriptor = -1; /* in a child: its pipe */
static struct limits own;
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
    reply(claim, size, clock_s(CLOCK_MONOTONIC) - own.start_s, (double)usage.ru_maxrss / 1024);
  } else {
    struct bytes out = {0};
    put(&out, own.nonce, NONCE_BYTES);
    put_u32(&out, (uint32_t)size);
    put(&out, claim, size);
    if (!write_all(claim_descriptor, out.data, out.size)) _exit(ABORT_EXIT_CODE);
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

/* V8's handler, under the names of both its signatures (Node 18; 20 and later). Without it the server's guess counts. */
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
  struct limits limits;
  struct bytes claim; /* nonce, u32 length, frame */
};

enum ending { CLAIMED, FORGED, ENDED, TOO_LONG, TIMED_OUT };

static double wall_left(const struct child *c) {
  return c->limits.wall_s - (clock_s(CLOCK_MONOTONIC) - c->limits.start_s);
}

static double cpu_left(const struct child *c) {
  return c->limits.cpu_s - clock_s((clockid_t)((~(unsigned)c->pid << 3) | 2));
}

/* Collects a child's claim until it is complete, ends, is too long, or time is up. */
static enum ending watch(struct child *c) {
  size_t most = 4 + 12 + 32 + KIND_BYTES + 4 * c->limits.message_chars +
                c->limits.value_count * (4 + 4 * c->limits.value_chars);
  static unsigned char chunk[65536];
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
    explicit_bzero(chunk, (size_t)count);
    if (c->claim.size >= NONCE_BYTES + 4) {
      size_t size = load_u32(c->claim.data + NONCE_BYTES);
      if (memcmp(c->claim.data, c->limits.nonce, NONCE_BYTES) != 0) return FORGED;
      if (size > most) return TOO_LONG;
      if (c->claim.size >= NONCE_BYTES + 4 + size) return CLAIMED;
    }
  }
}

/* Ends a child and everything it started. Returns the child's wait status; *usage is the child's. */
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

/* The server's claim for a child that made no valid one. */
static void explain(struct bytes *claim, enum ending ending, int status, double peak_mib, const struct limits *l) {
  char message[64];
  claim->size = 0;
  if (ending == TIMED_OUT) {
    make_claim(claim, "timeout", "", "");
  } else if (ending == TOO_LONG) {
    make_claim(claim, "output_limit", "", "the reply is too long");
  } else if (ending == CLAIMED || ending == FORGED) {
    make_claim(claim, "crash", "InvalidReply", "");
  } else if (WIFEXITED(status) && WEXITSTATUS(status) != ABORT_EXIT_CODE) {
    snprintf(message, sizeof message, "the process ended with exit code %d", WEXITSTATUS(status));
    make_claim(claim, "exit", "", message);
  } else {
    /* V8 reports a lack of memory as a claim; this is for allocations of other parts of Node. */
    const char *name = signal_name(WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT);
    if (WIFEXITED(status) == 0 && WTERMSIG(status) == SIGXCPU) make_claim(claim, "timeout", "", "");
    else if (peak_mib > 0.8 * (double)l->memory_mib) make_claim(claim, "memory", "", "");
    else make_claim(claim, "crash", name, "");
  }
}

/* Answers the request that waits on descriptor 0 with the child `pid`. False if the child did not read it. */
static bool supervise(pid_t pid, int pipe_end) {
  struct child c = {.pid = pid, .pipe = pipe_end};
  struct rusage usage = {0};
  struct pollfd p = {pipe_end, POLLIN, 0};
  if (poll(&p, 1, READ_MS) <= 0 || !read_all(pipe_end, &c.limits, sizeof c.limits)) {
    reap(&c, false, &usage);
    return false;
  }
  enum ending ending = watch(&c);
  double seconds = clock_s(CLOCK_MONOTONIC) - c.limits.start_s;
  int status = reap(&c, ending == ENDED, &usage);
  double peak_mib = (double)usage.ru_maxrss / 1024;
  const unsigned char *claim = c.claim.data + NONCE_BYTES + 4;
  size_t size = ending == CLAIMED ? load_u32(c.claim.data + NONCE_BYTES) : 0;
  if (ending == CLAIMED && is_legal(claim, size, &c.limits)) {
    reply(claim, size, seconds, peak_mib);
  } else {
    struct bytes own_claim = {0};
    explain(&own_claim, ending, status, peak_mib, &c.limits);
    reply(own_claim.data, own_claim.size, seconds, peak_mib);
    wipe(&own_claim);
  }
  wipe(&c.claim);
  return true;
}

/* V8 keeps its heap out of forks (MADV_DONTFORK); this puts it back. */
static void keep_memory_in_forks(void) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) _exit(INTERNAL_ERROR);
  unsigned long from, to;
  /* The kernel's special mappings refuse, and need no change. */
  while (fscanf(maps, "%lx-%lx%*[^\n]", &from, &to) == 2) madvise((void *)from, to - from, MADV_DOFORK);
  fclose(maps);
}

static void list_descriptors(void) {
  for (int d = REPLY + 1; d < 4096 && descriptor_count < DESCRIPTORS_MAX; d++)
    if (fcntl(d, F_GETFD) >= 0) descriptors[descriptor_count++] = d;
}

/* Keeps the host's filter for children, and adds at its start: no threads. A program's value must not depend on a race,
   nor its processor time on the number of cores. (The host allows threads for runtimes that need one.) */
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

/* In a new child: /dev/null over everything but the pipe and the request, which it still has to read. It is opened here:
   a descriptor shared with the server would keep a program's flags for the next one. libuv's loop loses its
   descriptors: nothing in a child ever runs it. */
static void become_child(int pipe_end) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_descriptor < 0) _exit(INTERNAL_ERROR);
  dup2(null_descriptor, 1);
  dup2(null_descriptor, 2);
  dup2(null_descriptor, REPLY);
  for (int i = 0; i < descriptor_count; i++) dup2(null_descriptor, descriptors[i]);
  close(null_descriptor);
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
      become_child(ends[1]);
      return boolean(env, true);
    }
    close(ends[1]);
    if (!supervise((pid_t)pid, ends[0])) _exit(INTERNAL_ERROR);
    close(ends[0]);
  }
}

/* ---- in the process that runs the program ---- */

static size_t keep_heap_limit(void *data, size_t current, size_t initial) {
  (void)data, (void)initial;
  return current;
}

/* Lowers V8's own limit below the kernel's, near which V8 only collects garbage ever more often. Removing a callback is
   the only call that sets a limit in a running V8; without it a full heap may end in a time-out. */
static void limit_heap(uint64_t memory_mib) {
  void *(*current)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv");
  void *add = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate24AddNearHeapLimitCallbackEPFmPvmmES1_");
  void *take = dlsym(RTLD_DEFAULT, "_ZN2v87Isolate27RemoveNearHeapLimitCallbackEPFmPvmmEm");
  if (current == NULL || add == NULL || take == NULL) return;
  typedef size_t (*callback)(void *, size_t, size_t);
  ((void (*)(void *, callback, void *))add)(current(), keep_heap_limit, NULL);
  ((void (*)(void *, callback, size_t))take)(current(), keep_heap_limit, (memory_mib << 20) / 8 * 7);
}

static void limit(int what, uint64_t value) {
  struct rlimit l = {value, value};
  if (setrlimit(what, &l) != 0) _exit(INTERNAL_ERROR);
}

static void harden(void) {
  uint64_t memory_mib = own.memory_mib < MEMORY_FLOOR_MIB ? MEMORY_FLOOR_MIB : own.memory_mib;
  limit_heap(memory_mib);
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
  own = (struct limits){.start_s = clock_s(CLOCK_MONOTONIC), .wall_s = numbers[0], .cpu_s = numbers[1],
                        .memory_mib = (uint64_t)numbers[2], .value_count = (uint64_t)numbers[3], .value_chars = (uint64_t)numbers[4],
                        .message_chars = (uint64_t)numbers[5]};
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
