/* Part of clone.c: a child's claim and how it becomes the reply of the protocol in language.py.

   A claim is a frame (status, error kind, message, value 1, ..., value n); a reply has seconds and memory after the
   message. Frames: u32 count, then for each field u32 length and the bytes, all big-endian. */

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

/* A child sends this to the server before it looks at its program. */
struct limits {
  unsigned char nonce[NONCE_BYTES];
  double start_s; /* on the monotonic clock */
  double wall_s, cpu_s;
  uint64_t memory_mib, value_count, value_chars, message_chars;
};

struct bytes {
  unsigned char *data;
  size_t size, room;
};


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

/* Wipes and frees bytes that no later child may inherit: another program's claim. */
static void wipe(struct bytes *b) {
  if (b->data != NULL) explicit_bzero(b->data, b->room);
  free(b->data);
  *b = (struct bytes){0};
}

static void put(struct bytes *to, const void *data, size_t size) {
  if (to->size + size > to->room) {
    struct bytes larger = {NULL, to->size, 2 * (to->size + size)};
    larger.data = malloc(larger.room);
    if (larger.data == NULL) _exit(INTERNAL_ERROR);
    if (to->size > 0) memcpy(larger.data, to->data, to->size);
    wipe(to);
    *to = larger;
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

/* Whether text is UTF-8 for a strict decoder. */
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

/* Sends the reply for a legal claim, with seconds and memory after the message. */
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
  wipe(&out);
}

static void make_claim(struct bytes *out, const char *status, const char *kind, const char *message) {
  put_u32(out, 3);
  put_field(out, status);
  put_field(out, kind);
  put_field(out, message);
}
