/* Forks one started interpreter for each run of a whole program; sandbox/fork_server.py compiles it and describes the
   messages.

   Loaded into the interpreter (LD_PRELOAD) when it starts on a program's path. At its fork point the process, which has
   run no program yet, answers requests. Each child gets a folder, limits and descriptors of its own, drops its rights,
   and goes on as the interpreter of the program's file. */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* some compilers set it: its longjmp refuses to leave a thread's first stack */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The oldest version of the symbol: a private root may hold a C library from before it moved into libc (2.34). */
#if defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#endif

#define FILTER_MAX 4096
#define FOLDERS_MAX 8
#define DESCRIPTORS_MAX 256
#define PIPES_MAX 8
#define THREADS_MAX 16
#define PARK 33 /* the C library's own second signal: no thread blocks it */
#define TIMERS_MAX 4
enum { STDIN, STDOUT, STDERR, SOURCE, PASSED };

struct request {
    uint64_t memory_bytes, cpu_s, file_bytes, folder_bytes;
};

static bool waiting;          /* whether the fork point is still to come */
static int host = -1;         /* the host's socket */
static int program_file = -1; /* the program's descriptor, where it is open before anything is read */
static bool peeked;           /* at the fork point "peek": whether the first read was */
static char point[8], program[256], folder[256];
static struct sock_filter filter[FILTER_MAX];
static unsigned short filter_length;
static int *thread_number; /* where the C library keeps it */

static void say(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (write(host, text, length < (int)sizeof text ? length : (int)sizeof text - 1) < 0)
        _exit(72);
}

static void fail(const char *what) {
    say("E %s: %s", what, strerror(errno));
    _exit(71);
}

static void must(bool done, const char *what) {
    if (!done)
        fail(what);
}

/* The host's next message, with the descriptors that it passes. */
static ssize_t receive(struct request *request, int passed[PASSED]) {
    char control[CMSG_SPACE(PASSED * sizeof(int))];
    struct iovec data = {request, sizeof *request};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length;
    do
        length = recvmsg(host, &message, MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR); /* an interpreter's own timer */
    struct cmsghdr *header = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (length == sizeof *request && (header == NULL || header->cmsg_len != CMSG_LEN(PASSED * sizeof(int)))) {
        errno = EPROTO;
        fail("a request without its descriptors");
    }
    if (length == sizeof *request)
        memcpy(passed, CMSG_DATA(header), PASSED * sizeof(int));
    return length;
}

/* Whether a thread of this process waits for something. */
static bool sleeps(const char *thread) {
    char path[300], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/stat", thread);
    FILE *file = fopen(path, "re");
    must(file != NULL, path);
    bool known = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return known && state == 'S';
}

/* The interpreter's other threads. In the server each waits in a signal's handler; a child makes them anew, with the
   memory that they had, and they return from it. */
static struct thread {
    int *number;   /* where the C library keeps it */
    void *storage; /* the thread's own variables */
    jmp_buf place;
    char stack[4096] __attribute__((aligned(16))); /* from its start in a child until it is at its place */
} threads[THREADS_MAX];
static int parking, parked;

static void park(int number) {
    int error = errno, mine = __atomic_fetch_add(&parking, 1, __ATOMIC_SEQ_CST);
    struct thread *own = &threads[mine];
    own->storage = __builtin_thread_pointer();
    if (prctl(PR_GET_TID_ADDRESS, &own->number, 0, 0, 0) || _setjmp(own->place)) {
        errno = error;
        return;
    }
    __atomic_fetch_add(&parked, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    (void)number;
}

#if defined(__x86_64__) /* where a handler returns to; others have it in the kernel */
__asm__(".text\nend_of_handler:\n\tmov $15, %eax\n\tsyscall\n");
void end_of_handler(void) __attribute__((visibility("hidden")));
enum { HAS_END = 0x04000000 };
#else
#define end_of_handler NULL
enum { HAS_END = 0 };
#endif

static struct action { /* the kernel's struct sigaction */
    void (*handler)(int);
    unsigned long flags;
    void (*end)(void);
    uint64_t mask;
} before_park; /* the C library's own: setuid waits until all threads have run it */

/* sigaction for PARK, which the C library refuses. */
static void on_park(const struct action *new, struct action *old) {
    must(!syscall(SYS_rt_sigaction, PARK, new, old, sizeof new->mask), "rt_sigaction");
}

/* Stops all other threads, once they sleep: one that runs may hold a lock that this one needs. */
static void park_threads(void) {
    const struct timespec moment = {0, 1000000};
    pid_t numbers[THREADS_MAX];
    int count = 0, awake = 1;
    for (int tries = 0; awake > 0 && tries < 5000; tries++) {
        count = awake = 0;
        DIR *tasks = opendir("/proc/self/task");
        must(tasks != NULL, "/proc/self/task");
        for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
            pid_t number = atoi(entry->d_name);
            if (number == 0 || number == syscall(SYS_gettid))
                continue;
            errno = EMFILE;
            must(count < THREADS_MAX, "threads at the fork point");
            numbers[count++] = number;
            awake += !sleeps(entry->d_name);
        }
        closedir(tasks);
        if (awake > 0)
            nanosleep(&moment, NULL);
    }
    on_park(&(struct action){park, SA_RESTART | HAS_END, end_of_handler, ~0ULL}, &before_park);
    for (int i = 0; i < count; i++)
        must(!syscall(SYS_tgkill, getpid(), numbers[i], PARK), "tgkill");
    for (int tries = 0; __atomic_load_n(&parked, __ATOMIC_SEQ_CST) < count && tries < 5000; tries++)
        nanosleep(&moment, NULL);
    errno = ETIMEDOUT;
    must(awake == 0 && parked == count, "its threads do not rest at the fork point");
}

static int resume(void *thread) {
    _longjmp(((struct thread *)thread)->place, 1);
}

static void resume_threads(void) {
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                      CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    on_park(&before_park, NULL);
    for (struct thread *own = threads; own < threads + parked; own++)
        must(clone(resume, own->stack + sizeof own->stack, flags, own, own->number, own->storage, own->number) > 0,
             "a thread");
}

/* A fork shares some memory, and some is kept out of it. */
static void require_forkable(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], access[5];
    unsigned long from, to;
    must(maps != NULL, "/proc/self/maps");
    while (fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, access) != 3)
            continue;
        if (access[1] == 'w' && access[3] == 's') {
            say("E it shares memory at the fork point: %s", line);
            _exit(71);
        }
        madvise((void *)from, to - from, MADV_DOFORK); /* V8 keeps its heap out of forks; the kernel's own maps refuse */
    }
    fclose(maps);
}

/* Pipes of the server and those that a child has in their place. */
static struct {
    char name[64];
    int ends[2];
    bool filled;
} pipes[PIPES_MAX];

/* A new pipe's end for `descriptor`: which is known by its access mode, its partner by its name. The new pipe holds what
   the server's does, such as the byte that makes a pipe a lock. */
static int new_pipe_end(int descriptor, const char *name, int mode) {
    for (int i = 0; i < PIPES_MAX; i++) {
        if (pipes[i].name[0] == '\0') {
            must(!pipe2(pipes[i].ends, O_CLOEXEC), "pipe");
            snprintf(pipes[i].name, sizeof pipes[i].name, "%s", name);
        }
        if (strcmp(pipes[i].name, name) != 0)
            continue;
        if (mode == O_RDONLY && !pipes[i].filled)
            must(tee(descriptor, pipes[i].ends[1], 1 << 16, SPLICE_F_NONBLOCK) >= 0 || errno == EAGAIN, name);
        pipes[i].filled |= mode == O_RDONLY;
        return dup(pipes[i].ends[mode == O_WRONLY]);
    }
    errno = EMFILE;
    return -1;
}

/* A new epoll that watches the same descriptors as the server's: the kernel lists them. */
static int new_epoll(int descriptor) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", descriptor);
    FILE *list = fopen(path, "re");
    int new = epoll_create1(EPOLL_CLOEXEC);
    must(list != NULL && new >= 0, path);
    while (fgets(line, sizeof line, list) != NULL) {
        int watched;
        unsigned long long data;
        struct epoll_event event;
        if (sscanf(line, "tfd: %d events: %x data: %llx", &watched, &event.events, &data) == 3) {
            event.data.u64 = data;
            must(!epoll_ctl(new, EPOLL_CTL_ADD, watched, &event), "epoll");
        }
    }
    fclose(list);
    return new;
}

/* A new event counter with the count of the server's. */
static int new_eventfd(int descriptor) {
    char path[64], line[256];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", descriptor);
    FILE *list = fopen(path, "re");
    must(list != NULL, path);
    while (fgets(line, sizeof line, list) != NULL && sscanf(line, "eventfd-count: %x", &count) != 1)
        ;
    fclose(list);
    return eventfd(count, EFD_CLOEXEC);
}

/* What the server's own streams are. */
static char streams[3][256];

/* Opens a descriptor of the server anew, so that no child reaches another through it. */
static void renew(int descriptor) {
    char path[64], target[256] = "";
    int flags = fcntl(descriptor, F_GETFL), closes = fcntl(descriptor, F_GETFD), new = -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    must(readlink(path, target, sizeof target - 1) > 0, path);
    for (int stream = STDIN; stream <= STDERR && new < 0; stream++)
        if (strcmp(target, streams[stream]) == 0)
            new = dup(stream);
    if (new >= 0)
        ; /* the interpreter's copy of a stream */
    else if (strncmp(target, "pipe:", 5) == 0)
        new = new_pipe_end(descriptor, target, flags & O_ACCMODE);
    else if (strcmp(target, "anon_inode:[eventfd]") == 0)
        new = new_eventfd(descriptor);
    else if (strcmp(target, "anon_inode:[eventpoll]") == 0)
        new = new_epoll(descriptor);
    else if (strncmp(target, "/proc/", 6) == 0 && strcmp(strrchr(target, '/'), "/mem") == 0)
        new = open("/proc/self/mem", flags & O_ACCMODE);
    else if (target[0] == '/' && (flags & O_ACCMODE) == O_RDONLY) {
        new = open(target, O_RDONLY | O_CLOEXEC | (flags & O_DIRECTORY));
        lseek(new, lseek(descriptor, 0, SEEK_CUR), SEEK_SET);
    }
    must(new >= 0 && dup3(new, descriptor, closes & FD_CLOEXEC ? O_CLOEXEC : 0) >= 0, target);
    fcntl(descriptor, F_SETFL, flags);
    close(new);
}

/* Renews all descriptors but the streams, the host's and the program's file; those that watch others last. */
static void renew_all(void) {
    static bool open[DESCRIPTORS_MAX], watches[DESCRIPTORS_MAX];
    for (int descriptor = 3; descriptor < DESCRIPTORS_MAX; descriptor++) {
        char path[64], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
        open[descriptor] = fcntl(descriptor, F_GETFD) >= 0 && readlink(path, target, sizeof target - 1) > 0 &&
                           descriptor != host && descriptor != program_file;
        watches[descriptor] = strcmp(target, "anon_inode:[eventpoll]") == 0;
    }
    for (int late = 0; late < 2; late++)
        for (int descriptor = 3; descriptor < DESCRIPTORS_MAX; descriptor++)
            if (open[descriptor] && watches[descriptor] == late)
                renew(descriptor);
    for (int i = 0; i < PIPES_MAX && pipes[i].name[0] != '\0'; i++) {
        close(pipes[i].ends[0]);
        close(pipes[i].ends[1]);
    }
}

/* The private folder: an empty one in memory, with the empty folders that the interpreter has made and the program. */
static void make_folder(const struct request *request, int source) {
    char names[FOLDERS_MAX][256], options[64];
    int count = 0;
    DIR *made = opendir(folder);
    must(made != NULL, folder);
    for (struct dirent *entry; count < FOLDERS_MAX && (entry = readdir(made)) != NULL;)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            snprintf(names[count++], sizeof names[0], "%s", entry->d_name);
    closedir(made);
    must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
    unsigned long long bytes = request->folder_bytes; /* as many empty files as of one page each: they cost memory too */
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=0755", bytes, bytes / 4096 + 64);
    must(!mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, options), "the folder's mount");
    must(!chdir(folder), "chdir");
    while (count > 0)
        must(!mkdir(names[--count], 0700), "mkdir");
    int file = open(program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(file >= 0, program);
    for (ssize_t copied; (copied = sendfile(file, source, NULL, 1 << 20)) != 0;)
        must(copied > 0, "copying the program");
    must(!fchmod(file, 0666), "fchmod");
    close(file);
}

/* /proc as the child's own PID namespace has it. What bubblewrap put over parts of the old one goes first: a new one may
   show no more than the old. */
static void mount_proc(void) {
    static const char *covers[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"};
    for (unsigned i = 0; i < sizeof covers / sizeof *covers; i++)
        umount2(covers[i], MNT_DETACH);
    must(!mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "/proc");
}

/* No setting of the kernel can be written: a mount of /proc in front of one through which its memory file stays open. */
static void close_proc(void) {
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount(NULL, "/proc", NULL, flags, NULL)) {
        must(errno == EBUSY && !mount("/proc", "/proc", NULL, MS_BIND, NULL), "/proc");
        must(!mount(NULL, "/proc", NULL, flags, NULL), "/proc");
    }
}

static void limit(int resource, uint64_t most, const char *what) {
    struct rlimit both = {most, most};
    must(!setrlimit(resource, &both), what);
}

/* If memory runs out, the kernel ends the program before its server. */
static void die_first(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, "1000", 4) != 4)
        fail("oom_score_adj");
    close(file);
}

static struct timespec reached[2]; /* when the fork point was, by these clocks */
static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME};
static const char *clock_names[] = {"monotonic", "boottime"};

static void read_clocks(struct timespec times[2]) {
    for (int i = 0; i < 2; i++)
        must(!clock_gettime(clocks[i], &times[i]), clock_names[i]);
}

/* The time since the interpreter's start goes on from the fork point, as in a fresh process: Node tells it. A kernel
   without time namespaces (before 5.6) leaves it. */
static void continue_clocks(void) {
    struct timespec now[2];
    char text[128];
    int length = 0;
    if (unshare(CLONE_NEWTIME)) {
        must(errno == EINVAL, "a time namespace");
        return;
    }
    read_clocks(now);
    for (int i = 0; i < 2; i++) {
        long long waited = (now[i].tv_sec - reached[i].tv_sec) * 1000000000LL + now[i].tv_nsec - reached[i].tv_nsec;
        long long back = -waited / 1000000000 - (waited % 1000000000 > 0), rest = -waited - back * 1000000000;
        length += snprintf(text + length, sizeof text - length, "%s %lld %lld\n", clock_names[i], back, rest);
    }
    int offsets = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    must(offsets >= 0 && write(offsets, text, length) == length, "the time namespace's offsets");
    int space = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    must(space >= 0 && !setns(space, CLONE_NEWTIME), "entering a time namespace");
    close(offsets);
    close(space);
}

/* Timers of the interpreter at the fork point, which a fork has not. */
static struct {
    clockid_t clock;
    struct sigevent event;
    timer_t timer;
} timers[TIMERS_MAX];
static int timer_count;

/* They get the same numbers as before: the kernel counts them by process. */
static void make_timers(void) {
    for (int i = 0; i < timer_count; i++) {
        timer_t timer;
        must(!timer_create(timers[i].clock, &timers[i].event, &timer) && timer == timers[i].timer, "timer_create");
    }
}

/* What Python does in a child of os.fork; its `random` seeds itself again, if it was loaded before the program. */
static void tell_python(void) {
    int (*lock)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void (*forked)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyOS_AfterFork_Child");
    void (*unlock)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "PyGILState_Release");
    if (lock != NULL && forked != NULL && unlock != NULL) {
        int state = lock();
        forked();
        unlock(state);
    }
}

/* Else Math.random, the module `crypto` and threads' Math.random had the same numbers in all children. */
static void seed_node(void) {
    void *(*isolate)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv");
    if (isolate == NULL)
        return;
    void *(*generator)(void *) = (void *(*)(void *))dlsym(
        RTLD_DEFAULT, "_ZN2v88internal7Isolate23random_number_generatorEv");
    void (*set)(void *, int64_t) = (void (*)(void *, int64_t))dlsym(
        RTLD_DEFAULT, "_ZN2v84base21RandomNumberGenerator7SetSeedEl");
    void (*seed_openssl)(const void *, int) = (void (*)(const void *, int))dlsym(RTLD_DEFAULT, "RAND_seed");
    int64_t seed;
    errno = ENOSYS;
    must(generator != NULL && set != NULL && seed_openssl != NULL && getrandom(&seed, sizeof seed, 0) == sizeof seed,
         "Node's random numbers");
    set(generator(isolate()), seed);
    seed_openssl(&seed, sizeof seed); /* it draws from the kernel too */
}

/* Makes a new child the process that runs one program. */
static void become(const struct request *request, const int passed[PASSED]) {
    *thread_number = getpid(); /* else the program's next thread had the number of the first: they would share locks */
    must(setsid() >= 0, "setsid");
    must(!prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "death signal");
    must(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable"); /* its /proc/self belongs to it, as in a fresh process */
    make_folder(request, passed[SOURCE]);
    mount_proc();
    if (program_file >= 0) {
        int file = open(program, O_RDONLY);
        must(file >= 0 && dup3(file, program_file, O_CLOEXEC) >= 0, program);
        close(file);
    }
    for (int stream = STDIN; stream <= STDERR; stream++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", stream);
        must(readlink(path, streams[stream], sizeof streams[stream] - 1) > 0, path);
        must(dup2(passed[stream], stream) >= 0, "dup2");
    }
    for (int i = 0; i < PASSED; i++)
        close(passed[i]);
    die_first();
    renew_all(); /* while /proc can be written: a JIT writes its own memory through it */
    continue_clocks();
    close_proc();
    make_timers();
    if (strcmp(point, "open") == 0) {
        tell_python();
        seed_node();
    }
    limit(RLIMIT_AS, request->memory_bytes, "memory limit");
    limit(RLIMIT_CPU, request->cpu_s, "processor limit");
    limit(RLIMIT_FSIZE, request->file_bytes, "file limit");
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    must(!syscall(SYS_capset, &header, none), "capset");
    struct sock_fprog filters = {filter_length, filter};
    say("S"); /* with it the kernel tells the host this process' number */
    must(!fcntl(host, F_SETFD, FD_CLOEXEC), "close on exec");
    must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filters, 0, 0), "seccomp");
    resume_threads(); /* they get its limits and its filter */
    close(host);
}

/* Waits for the child's end, or the host's word to end it, and reports it: wait status, peak of memory in KiB. */
static void watch(pid_t child, int child_descriptor) {
    struct pollfd events[] = {{child_descriptor, POLLIN, 0}, {host, POLLIN, 0}};
    while (!(events[0].revents & POLLIN)) {
        if (poll(events, 2, -1) < 0 && errno != EINTR)
            fail("poll");
        if (events[1].revents) {
            struct request word;
            int passed[PASSED];
            if (receive(&word, passed) != 1)
                _exit(0);
            kill(child, SIGKILL);
        }
    }
    int status;
    struct rusage usage;
    must(wait4(child, &status, __WALL, &usage) == child, "wait4");
    close(child_descriptor);
    say("D %d %ld", status, usage.ru_maxrss);
}

/* Answers the host's requests; returns in each child, and never in the server itself. */
static void serve(void) {
    waiting = false;
    park_threads();
    require_forkable();
    must(!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    must(!prctl(PR_GET_TID_ADDRESS, &thread_number, 0, 0, 0) && *thread_number == syscall(SYS_gettid), "thread number");
    read_clocks(reached);
    say("R");
    for (;;) {
        struct request request;
        int passed[PASSED], child_descriptor = -1; /* kernels before 5.2 leave it so */
        ssize_t length = receive(&request, passed);
        if (length <= 0)
            _exit(0);
        if (length == 1)
            continue; /* the word to end a child that had ended by itself */
        /* no SIGCHLD at its end: the interpreter's handler ran, and left its traces to the next child */
        pid_t child = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD, 0, &child_descriptor, 0, 0);
        must(child >= 0 && (child == 0 || child_descriptor >= 0), "clone");
        if (child == 0) {
            become(&request, passed);
            return;
        }
        for (int i = 0; i < PASSED; i++)
            close(passed[i]);
        watch(child, child_descriptor);
    }
}

static void read_filter(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file >= 0 ? read(file, filter, sizeof filter) : -1;
    must(length > 0 && length % sizeof *filter == 0, path);
    filter_length = length / sizeof *filter;
    close(file);
}

/* AZR_FORK_SERVER: the socket's number, the fork point, the program's path. */
__attribute__((constructor)) static void begin(int count, char **argv) {
    const char *settings = getenv("AZR_FORK_SERVER"), *path = getenv("AZR_CHILD_FILTER");
    int number;
    if (settings == NULL || path == NULL || sscanf(settings, "%d %7s %255s", &number, point, program) != 3)
        return;
    host = number;
    snprintf(folder, sizeof folder, "%s", program);
    *strrchr(folder, '/') = '\0';
    must(!fcntl(host, F_SETFD, FD_CLOEXEC), "the host's socket");
    read_filter(path);
    static const char *own[] = {"AZR_FORK_SERVER", "AZR_CHILD_FILTER", "AZR_INSIDE", "AZR_NEW_PID", "LD_PRELOAD"};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        unsetenv(own[i]);
    waiting = true;
    if (strcmp(point, "start") == 0)
        serve();
    if (strcmp(point, "exec") == 0 && count > 1) {
        serve();
        execv(argv[1], argv + 1);
        _exit(127);
    }
}

static void *next(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL)
        abort();
    return function;
}

static bool is_program(const char *path) {
    return waiting && path != NULL && strcmp(path, program) == 0;
}

static void before_open(const char *path) {
    if (is_program(path) && strcmp(point, "open") == 0)
        serve();
}

static int opened(const char *path, int file) {
    if (is_program(path) && file >= 0)
        program_file = file;
    return file;
}

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                             \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        static int (*real)(const char *, int, ...);                                                                    \
        MODE_OF(flags, mode)                                                                                           \
        if (real == NULL)                                                                                              \
            real = next(#name);                                                                                        \
        before_open(path);                                                                                             \
        return opened(path, real(path, flags, mode));                                                                  \
    }

#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        static int (*real)(int, const char *, int, ...);                                                               \
        MODE_OF(flags, mode)                                                                                           \
        if (real == NULL)                                                                                              \
            real = next(#name);                                                                                        \
        before_open(path);                                                                                             \
        return opened(path, real(at, path, flags, mode));                                                              \
    }

#define FOPEN(name)                                                                                                    \
    FILE *name(const char *path, const char *mode) {                                                                   \
        static FILE *(*real)(const char *, const char *);                                                              \
        if (real == NULL)                                                                                              \
            real = next(#name);                                                                                        \
        before_open(path);                                                                                             \
        FILE *file = real(path, mode);                                                                                 \
        if (file != NULL)                                                                                              \
            opened(path, fileno(file));                                                                                \
        return file;                                                                                                   \
    }

static void before_read(FILE *file) {
    if (waiting && program_file >= 0 && fileno(file) == program_file)
        serve();
}

char *fgets(char *line, int size, FILE *file) {
    static char *(*real)(char *, int, FILE *);
    if (real == NULL)
        real = next("fgets");
    before_read(file);
    return real(line, size, file);
}

/* Ruby reads once to see whether the file begins with "#!", loads its libraries and then reads on. The first read gets a
   blank, before which no program that forks begins with what has to be a line's first word (`Forking.programs`). */
ssize_t read(int file, void *buffer, size_t size) {
    static ssize_t (*real)(int, void *, size_t);
    if (real == NULL)
        real = next("read");
    if (waiting && file == program_file && size > 0 && strcmp(point, "peek") == 0) {
        if (!peeked) {
            peeked = true;
            *(char *)buffer = ' ';
            return 1;
        }
        serve();
    }
    return real(file, buffer, size);
}

int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer) {
    static int (*real)(clockid_t, struct sigevent *restrict, timer_t *restrict);
    if (real == NULL)
        real = next("timer_create");
    int result = real(clock, event, timer);
    if (waiting && result == 0 && event != NULL && timer_count < TIMERS_MAX) {
        timers[timer_count].clock = clock;
        timers[timer_count].event = *event;
        timers[timer_count++].timer = *timer;
    }
    return result;
}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)
