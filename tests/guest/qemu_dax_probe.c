/*
 * The DAX suite's program in the guest: one check per command, run in the mounted share. A check ends with 0,
 * or says on stderr what is not as it must be and ends with 1.
 *
 * File contents follow from a seed and the offset (qemu_dax_pattern.ts has the host's half), so that a byte at
 * the wrong place is seen as well as a wrong byte. What the host is to do meanwhile is asked for through the
 * second serial port, one line there and one line back (qemu_dax_host.ts), past the daemon under test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PAGE 4096L
#define RANGE (2L << 20)
#define MIB (1L << 20)
#define CONTROL "/dev/ttyS1"
#define HOST_TIMEOUT_MS 30000

/* ---- failing ---- */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static long must(long result, const char *what)
{
    if (result < 0) fail("%s: %s", what, strerror(errno));
    return result;
}

/* ---- contents ---- */

static uint32_t word(uint32_t seed, uint64_t index)
{
    uint32_t value = (uint32_t)index * 2654435761u ^ seed * 0x9e3779b9u;
    value ^= value >> 15;
    value *= 0x2c1b3c6du;
    return value ^ value >> 12;
}

static uint8_t byte_at(uint32_t seed, uint64_t offset)
{
    return word(seed, offset >> 2) >> 8 * (offset & 3);
}

static void fill(uint8_t *at, uint32_t seed, uint64_t offset, size_t length)
{
    size_t i = 0;
    for (; i < length && (offset + i) & 3; i++) at[i] = byte_at(seed, offset + i);
    for (; i + 4 <= length; i += 4) {
        uint32_t value = word(seed, (offset + i) >> 2);
        memcpy(at + i, &value, 4);
    }
    for (; i < length; i++) at[i] = byte_at(seed, offset + i);
}

/* `at` holds the file's bytes from `offset` on. */
static void expect(const uint8_t *at, uint32_t seed, uint64_t offset, size_t length, const char *what)
{
    static uint8_t good[64 * 1024];
    for (size_t i = 0; i < length;) {
        size_t step = length - i < sizeof good ? length - i : sizeof good;
        fill(good, seed, offset + i, step);
        if (memcmp(at + i, good, step) != 0) {
            for (size_t k = 0; k < step; k++) {
                if (at[i + k] != good[k])
                    fail("%s: byte %llu is %u, not %u", what, (unsigned long long)(offset + i + k), at[i + k], good[k]);
            }
        }
        i += step;
    }
}

static void expect_zeros(const uint8_t *at, uint64_t offset, size_t length, const char *what)
{
    for (size_t i = 0; i < length; i++) {
        if (at[i] != 0) fail("%s: byte %llu is %u, not 0", what, (unsigned long long)(offset + i), at[i]);
    }
}

/* ---- files ---- */

static int open_file(const char *name, int flags)
{
    int fd = open(name, flags, 0644);
    if (fd < 0) fail("open %s: %s", name, strerror(errno));
    return fd;
}

static size_t file_size(int fd)
{
    /* As the daemon says it now, not as the guest's kernel remembers it. */
    struct statx status;
    must(statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &status), "statx");
    return status.stx_size;
}

static uint8_t *map_fd(int fd, size_t length, int protection)
{
    uint8_t *at = mmap(NULL, length, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail("mmap of %zu bytes: %s", length, strerror(errno));
    return at;
}

static void write_all(int fd, uint32_t seed, uint64_t offset, size_t length, size_t chunk)
{
    uint8_t *bytes = malloc(chunk);
    for (size_t done = 0; done < length;) {
        size_t step = length - done < chunk ? length - done : chunk;
        fill(bytes, seed, offset + done, step);
        long written = must(pwrite(fd, bytes, step, offset + done), "pwrite");
        if (written == 0) fail("pwrite wrote nothing");
        done += written;
    }
    free(bytes);
}

static void expect_by_read(int fd, uint32_t seed, uint64_t offset, size_t length, const char *what)
{
    static uint8_t bytes[256 * 1024];
    for (size_t done = 0; done < length;) {
        size_t step = length - done < sizeof bytes ? length - done : sizeof bytes;
        long count = must(pread(fd, bytes, step, offset + done), "pread");
        if (count == 0) fail("%s: the file ends at %llu", what, (unsigned long long)(offset + done));
        expect(bytes, seed, offset + done, count, what);
        done += count;
    }
}

/* A new file with the pattern, open for reading and writing. */
static int new_file(const char *name, uint32_t seed, size_t size)
{
    int fd = open_file(name, O_RDWR | O_CREAT | O_TRUNC);
    write_all(fd, seed, 0, size, 300000);
    return fd;
}

/* ---- touching what may not be there ---- */

static sigjmp_buf bus_return;

static void on_bus(int signal)
{
    (void)signal;
    siglongjmp(bus_return, 1);
}

/* 1 if reading the byte raised SIGBUS. */
static int raises_bus(const volatile uint8_t *at)
{
    struct sigaction action = {.sa_handler = on_bus}, old;
    sigaction(SIGBUS, &action, &old);
    int raised = sigsetjmp(bus_return, 1);
    if (!raised) (void)*at;
    sigaction(SIGBUS, &old, NULL);
    return raised;
}

static void expect_end(const uint8_t *at, size_t size, const char *what)
{
    size_t pages = (size + PAGE - 1) / PAGE * PAGE;
    if (size > 0 && raises_bus(at + size - 1)) fail("%s: SIGBUS in the last byte", what);
    if (pages > size) expect_zeros(at + size, size, pages - size, what);
    if (!raises_bus(at + pages)) fail("%s: no SIGBUS in the first page beyond the end", what);
}

/* ---- the host ---- */

static int open_control(void)
{
    int fd = open_file(CONTROL, O_RDWR | O_NOCTTY);
    struct termios settings;
    must(tcgetattr(fd, &settings), "tcgetattr");
    cfmakeraw(&settings);
    must(tcsetattr(fd, TCSANOW, &settings), "tcsetattr");
    return fd;
}

/* Asks the host to do something; its answer after "ok ". */
__attribute__((format(printf, 1, 2))) static const char *host(const char *format, ...)
{
    static char line[4096];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length++] = '\n';
    int fd = open_control();
    must(write(fd, line, length), "write to the host");
    size_t got = 0;
    do {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, HOST_TIMEOUT_MS) <= 0) fail("the host does not answer: %s", format);
        got += must(read(fd, line + got, sizeof line - 1 - got), "read from the host");
        line[got] = 0;
    } while (strchr(line, '\n') == NULL && got < sizeof line - 1);
    close(fd);
    *strchrnul(line, '\n') = 0;
    if (strncmp(line, "ok", 2) != 0) fail("on the host: %s", line);
    return line[2] == ' ' ? line + 3 : "";
}

/* ---- checksums ---- */

static uint32_t rotate(uint32_t value, int count) { return value >> count | value << (32 - count); }

static void sha256_block(uint32_t *state, const uint8_t *bytes)
{
    static uint32_t constants[64];
    if (constants[0] == 0) {
        /* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
        for (uint32_t candidate = 2, count = 0; count < 64; candidate++) {
            int prime = 1;
            for (uint32_t d = 2; d * d <= candidate; d++) prime &= candidate % d != 0;
            if (!prime) continue;
            unsigned __int128 cube = (unsigned __int128)candidate << 96;
            uint64_t root = 0;
            for (int bit = 35; bit >= 0; bit--) {
                uint64_t next = root | 1ull << bit;
                if ((unsigned __int128)next * next * next <= cube) root = next;
            }
            constants[count++] = (uint32_t)root;
        }
    }
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)bytes[4 * i] << 24 | bytes[4 * i + 1] << 16 | bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t t = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
        uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t u = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

/* sum FILE: the SHA-256 of a file as a mapping shows it. */
static void sum(char **argv)
{
    int fd = open_file(argv[0], O_RDONLY);
    size_t size = file_size(fd);
    const uint8_t *at = size > 0 ? map_fd(fd, size, PROT_READ) : NULL;
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t whole = size / 64 * 64;
    for (size_t i = 0; i < whole; i += 64) sha256_block(state, at + i);
    uint8_t rest[128] = {0};
    size_t left = size - whole, length = left < 56 ? 64 : 128;
    if (left > 0) memcpy(rest, at + whole, left);
    rest[left] = 0x80;
    for (int i = 0; i < 8; i++) rest[length - 1 - i] = (uint64_t)size * 8 >> 8 * i;
    for (size_t i = 0; i < length; i += 64) sha256_block(state, rest + i);
    for (int i = 0; i < 8; i++) printf("%08x", state[i]);
    printf("\n");
}

/* ---- the checks ---- */

/* host REQUEST...: the host's answer, for scripts. */
static void ask_host(char **argv)
{
    char line[1024] = "";
    for (; *argv != NULL; argv++) {
        strncat(line, *argv, sizeof line - strlen(line) - 2);
        if (argv[1] != NULL) strcat(line, " ");
    }
    puts(host("%s", line));
}

/* dax FILE yes|no: whether the inode is one that DAX is used for. */
static void dax(char **argv)
{
    struct statx status;
    must(statx(AT_FDCWD, argv[0], 0, STATX_BASIC_STATS, &status), "statx");
    if (!(status.stx_attributes_mask & STATX_ATTR_DAX)) fail("the file system does not say whether it uses DAX");
    int is = (status.stx_attributes & STATX_ATTR_DAX) != 0;
    if (is != (strcmp(argv[1], "yes") == 0)) fail("%s: DAX is %s", argv[0], is ? "used" : "not used");
}

/* verify FILE SIZE SEED: by read(2) and through a mapping, up to its end and beyond. */
static void verify(char **argv)
{
    size_t size = strtoul(argv[1], NULL, 10);
    uint32_t seed = strtoul(argv[2], NULL, 10);
    int fd = open_file(argv[0], O_RDONLY);
    if (file_size(fd) != size) fail("%s has %zu bytes, not %zu", argv[0], file_size(fd), size);
    const uint8_t *at = map_fd(fd, size + 2 * PAGE, PROT_READ);
    expect(at, seed, 0, size, "mapping");
    expect_end(at, size, argv[0]);
    expect_by_read(fd, seed, 0, size, "read");
    uint8_t byte;
    if (pread(fd, &byte, 1, size) != 0) fail("%s: there is a byte after the last", argv[0]);
}

/* random FILE SEED COUNT: single pages all over a file. */
static void random_reads(char **argv)
{
    uint32_t seed = strtoul(argv[1], NULL, 10);
    int fd = open_file(argv[0], O_RDONLY), count = atoi(argv[2]);
    size_t size = file_size(fd);
    const uint8_t *at = map_fd(fd, size, PROT_READ);
    for (int i = 0; i < count; i++) {
        size_t page = word(77, i) % (size / PAGE) * PAGE;
        expect(at + page, seed, page, PAGE, "random page");
    }
}

/* write FILE SIZE SEED: a new file by write(2), in pieces that are not pages. */
static void write_new(char **argv)
{
    size_t size = strtoul(argv[1], NULL, 10);
    uint32_t seed = strtoul(argv[2], NULL, 10);
    int fd = open_file(argv[0], O_RDWR | O_CREAT | O_TRUNC);
    write_all(fd, seed, 0, size, size > 100000 ? 70001 : 1000);
    expect_by_read(fd, seed, 0, size, "read back");
    must(fsync(fd), "fsync");
    host("expect %s %zu %u", argv[0], size, seed);
}

/* map-write FILE SIZE SEED: a file that is one hole, filled through a mapping; then changed once more. */
static void map_write(char **argv)
{
    size_t size = strtoul(argv[1], NULL, 10);
    uint32_t seed = strtoul(argv[2], NULL, 10);
    int fd = open_file(argv[0], O_RDWR | O_CREAT | O_TRUNC);
    must(ftruncate(fd, size), "ftruncate");
    uint8_t *at = map_fd(fd, size + 2 * PAGE, PROT_READ | PROT_WRITE);
    expect_zeros(at, 0, size < PAGE ? size : PAGE, "a hole");
    fill(at, seed, 0, size);
    must(msync(at, size, MS_SYNC), "msync");
    host("expect %s %zu %u", argv[0], size, seed);
    fill(at, seed + 1, 0, size);
    must(msync(at, size, MS_SYNC), "msync");
    host("expect %s %zu %u", argv[0], size, seed + 1);
    expect_end(at, size, argv[0]);
    expect_by_read(fd, seed + 1, 0, size, "read");
}

/* append FILE: a file that grows under its mapping, over the edges of pages and ranges. */
static void append(char **argv)
{
    static const size_t steps[] = {1, 4094, 1, 1, 4096, RANGE - 8193 - 5000, 4999, 1, 1, 5000, RANGE, 777777};
    int fd = open_file(argv[0], O_RDWR | O_CREAT | O_TRUNC | O_APPEND);
    uint8_t *at = map_fd(fd, 4 * RANGE, PROT_READ | PROT_WRITE);
    uint8_t *bytes = malloc(2 * RANGE);
    size_t size = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fill(bytes, 21, size, steps[i]);
        if (must(write(fd, bytes, steps[i]), "append") != (long)steps[i]) fail("a short append");
        expect(at + size, 21, size, steps[i], "what was appended");
        size += steps[i];
        if (file_size(fd) != size) fail("the file has %zu bytes, not %zu", file_size(fd), size);
        if (size % PAGE != 0) expect_end(at, size, "appended");
    }
    expect(at, 21, 0, size, "all that was appended");
    host("expect %s %zu 21", argv[0], size);
}

/* truncate FILE: the end moves under the mapping; what grows again is zeros. */
static void shrink(char **argv)
{
    static const size_t sizes[] = {5000000, 2 * RANGE, 2 * RANGE - 1, RANGE + 1, RANGE, RANGE - 1, 4097, 4096, 4095, 1, 0};
    size_t full = 3 * RANGE;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int fd = new_file(argv[0], 31, full);
        uint8_t *at = map_fd(fd, full + PAGE, PROT_READ | PROT_WRITE);
        expect(at, 31, 0, full, "before");
        must(ftruncate(fd, sizes[i]), "ftruncate");
        expect_end(at, sizes[i], "after ftruncate");
        if (!raises_bus(at + full - 1)) fail("no SIGBUS where the file was");
        expect(at, 31, 0, sizes[i], "what is left");
        must(ftruncate(fd, full), "ftruncate");
        expect(at, 31, 0, sizes[i], "what was left");
        expect_zeros(at + sizes[i], sizes[i], full - sizes[i], "what came anew");
        host("expect %s %zu 31 %zu", argv[0], full, sizes[i]);
        munmap(at, full + PAGE);
        close(fd);
    }
}

/* tail FILE: what is stored behind the end of a file is not in the file when it grows. */
static void tail(char **argv)
{
    int fd = new_file(argv[0], 41, 5000);
    uint8_t *at = map_fd(fd, 2 * PAGE, PROT_READ | PROT_WRITE);
    memset(at + 5000, 0xaa, 2 * PAGE - 5000);
    if (file_size(fd) != 5000) fail("a store behind the end changed the size to %zu", file_size(fd));
    must(ftruncate(fd, 2 * PAGE), "ftruncate");
    expect_zeros(at + 5000, 5000, 2 * PAGE - 5000, "behind the old end");
    host("expect %s %ld 41 5000", argv[0], 2 * PAGE);
}

/* upgrade FILE: a range mapped for reading is written to, by write(2) and through a mapping. */
static void upgrade(char **argv)
{
    close(new_file(argv[0], 51, 3 * RANGE));
    /* Drops what the kernel has mapped. */
    must(truncate(argv[0], 3 * RANGE), "truncate");
    int reader = open_file(argv[0], O_RDONLY);
    uint8_t *seen = map_fd(reader, 3 * RANGE, PROT_READ);
    expect(seen, 51, 0, 3 * RANGE, "before");
    int writer = open_file(argv[0], O_RDWR);
    write_all(writer, 52, RANGE / 2, 1000, 1000);
    expect(seen + RANGE / 2, 52, RANGE / 2, 1000, "written with write");
    uint8_t *at = map_fd(writer, 3 * RANGE, PROT_READ | PROT_WRITE);
    fill(at + RANGE, 53, RANGE, RANGE);
    expect(seen + RANGE, 53, RANGE, RANGE, "written through a mapping");
    expect(seen, 51, 0, RANGE / 2, "beside it");
    expect(seen + 2 * RANGE, 51, 2 * RANGE, RANGE, "behind it");
    must(msync(at, 3 * RANGE, MS_SYNC), "msync");
    host("expect-part %s 0 %ld 51", argv[0], RANGE / 2);
    host("expect-part %s %ld 1000 52", argv[0], RANGE / 2);
    host("expect-part %s %ld %ld 53", argv[0], RANGE, RANGE);
}

/* read-only FILE SIZE SEED: somebody who may only read maps it, and may not write. */
static void read_only(char **argv)
{
    size_t size = strtoul(argv[1], NULL, 10);
    must(setresgid(1000, 1000, 1000), "setresgid");
    must(setresuid(1000, 1000, 1000), "setresuid");
    if (open(argv[0], O_RDWR) >= 0) fail("%s can be opened for writing", argv[0]);
    int fd = open_file(argv[0], O_RDONLY);
    if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED) fail("a writable mapping");
    verify(argv);
}

/* private FILE: a private mapping's changes stay private. */
static void private_mapping(char **argv)
{
    int fd = new_file(argv[0], 61, RANGE + 5000);
    uint8_t *at = mmap(NULL, RANGE + 5000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) fail("mmap: %s", strerror(errno));
    expect(at, 61, 0, RANGE + 5000, "private mapping");
    fill(at, 62, 0, RANGE + 5000);
    expect_by_read(fd, 61, 0, RANGE + 5000, "the file");
    host("expect %s %ld 61", argv[0], RANGE + 5000);
}

static void wait_for_children(int count)
{
    for (int i = 0; i < count; i++) {
        int status;
        must(wait(&status), "wait");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail("a process ended with %x", status);
    }
}

/* fork FILE: two processes, one mapping inherited and one of its own, talking through the file. */
static void talk(char **argv)
{
    enum { ROUNDS = 2000 };
    int fd = new_file(argv[0], 71, 2 * RANGE);
    volatile uint32_t *ours = (void *)map_fd(fd, 2 * RANGE, PROT_READ | PROT_WRITE);
    ours[0] = 0;
    ours[RANGE / 4] = 0;
    pid_t child = must(fork(), "fork");
    if (child == 0) {
        int again = open_file(argv[0], O_RDWR);
        volatile uint32_t *theirs = (void *)map_fd(again, 2 * RANGE, PROT_READ | PROT_WRITE);
        alarm(60);
        for (uint32_t i = 1; i <= ROUNDS; i++) {
            while (theirs[0] != i) sched_yield();
            __atomic_store_n(&theirs[RANGE / 4], i, __ATOMIC_SEQ_CST);
        }
        _exit(0);
    }
    alarm(60);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(&ours[0], i, __ATOMIC_SEQ_CST);
        while (ours[RANGE / 4] != i) sched_yield();
    }
    wait_for_children(1);
    uint32_t last;
    must(pread(fd, &last, 4, RANGE), "pread");
    if (last != ROUNDS) fail("read(2) sees %u, not %d", last, ROUNDS);
}

/* parallel FILE SIZE: four processes write and read pages of one file, each its own, more than fits the window. */
static void parallel(char **argv)
{
    enum { PROCESSES = 4 };
    size_t size = strtoul(argv[1], NULL, 10);
    int made = open_file(argv[0], O_RDWR | O_CREAT | O_TRUNC);
    must(ftruncate(made, size), "ftruncate");
    for (int p = 0; p < PROCESSES; p++) {
        if (must(fork(), "fork") > 0) continue;
        int fd = open_file(argv[0], O_RDWR);
        uint8_t *at = map_fd(fd, size, PROT_READ | PROT_WRITE);
        uint8_t *page = malloc(PAGE);
        /* One page of each process in every 64 KiB: all processes use all ranges. */
        for (size_t offset = p * PAGE; offset < size; offset += 16 * PAGE) {
            if (p % 2 == 0) fill(at + offset, 81 + p, offset, PAGE);
            else write_all(fd, 81 + p, offset, PAGE, PAGE);
        }
        for (size_t offset = p * PAGE; offset < size; offset += 16 * PAGE) {
            must(pread(fd, page, PAGE, offset), "pread");
            expect(p % 2 == 0 ? page : at + offset, 81 + p, offset, PAGE, "own page");
        }
        _exit(0);
    }
    wait_for_children(PROCESSES);
    const uint8_t *at = map_fd(made, size, PROT_READ);
    for (size_t offset = 0; offset < size; offset += PAGE) {
        int p = offset / PAGE % 16;
        if (p < PROCESSES) expect(at + offset, 81 + p, offset, PAGE, "page");
        else expect_zeros(at + offset, offset, PAGE, "page of nobody");
    }
    host("expect-stripes %s %zu %d 81", argv[0], size, PROCESSES);
}

/* copy-range FROM TO: copy_file_range between two mapped files, and within one. */
static void copy_range(char **argv)
{
    int from = new_file(argv[0], 91, 2 * RANGE + 5000), to = new_file(argv[1], 92, 3 * RANGE);
    uint8_t *target = map_fd(to, 3 * RANGE, PROT_READ | PROT_WRITE);
    uint8_t *source = map_fd(from, 2 * RANGE + 5000, PROT_READ | PROT_WRITE);
    expect(target, 92, 0, 3 * RANGE, "before");
    /* Only in the mapping so far: the copy must have it. */
    fill(source + 100, 93, 100, 50000);
    off_t in = 0, out = 0;
    for (size_t left = 2 * RANGE + 5000; left > 0;) {
        long count = must(copy_file_range(from, &in, to, &out, left, 0), "copy_file_range");
        if (count == 0) fail("copy_file_range copied nothing");
        left -= count;
    }
    expect(target, 91, 0, 100, "copied");
    expect(target + 100, 93, 100, 50000, "copied from the mapping");
    expect(target + 50100, 91, 50100, 2 * RANGE + 5000 - 50100, "copied");
    expect(target + 2 * RANGE + 5000, 92, 2 * RANGE + 5000, RANGE - 5000, "behind the copy");
    host("expect-part %s %d %d 93", argv[1], 100, 50000);
}

/* punch FILE: holes and zeroed ranges appear in the mapping, and allocation grows it. */
static void punch(char **argv)
{
    int fd = new_file(argv[0], 101, 3 * RANGE);
    uint8_t *at = map_fd(fd, 4 * RANGE + PAGE, PROT_READ | PROT_WRITE);
    expect(at, 101, 0, 3 * RANGE, "before");
    size_t hole = RANGE - 10000, length = RANGE + 20001;
    must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole, length), "punch hole");
    expect(at, 101, 0, hole, "before the hole");
    expect_zeros(at + hole, hole, length, "the hole");
    expect(at + hole + length, 101, hole + length, 3 * RANGE - hole - length, "behind the hole");
    host("expect-zeros %s %zu %zu", argv[0], hole, length);
    fill(at + RANGE, 102, RANGE, 100);
    must(msync(at, 3 * RANGE, MS_SYNC), "msync");
    host("expect-part %s %ld 100 102", argv[0], RANGE);
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 10, 5000) == 0)
        expect_zeros(at + 10, 10, 5000, "a zeroed range");
    else if (errno != EOPNOTSUPP) fail("zero range: %s", strerror(errno));
    must(fallocate(fd, 0, 3 * RANGE, RANGE), "fallocate");
    expect_zeros(at + 3 * RANGE, 3 * RANGE, RANGE, "allocated");
    expect_end(at, 4 * RANGE, "allocated");
}

/* names FILE OTHER: a mapped file is renamed over, unlinked, opened with O_TRUNC. */
static void names(char **argv)
{
    int fd = new_file(argv[0], 111, RANGE + 1);
    uint8_t *at = map_fd(fd, RANGE + 1, PROT_READ | PROT_WRITE);
    expect(at, 111, 0, RANGE + 1, "before");
    close(new_file(argv[1], 112, 5000));
    must(rename(argv[1], argv[0]), "rename");
    expect(at, 111, 0, RANGE + 1, "renamed over");
    fill(at, 113, 0, 1000);
    expect_by_read(fd, 113, 0, 1000, "written when renamed over");
    int other = open_file(argv[0], O_RDWR);
    expect_by_read(other, 112, 0, 5000, "the new file");
    uint8_t *there = map_fd(other, 2 * PAGE, PROT_READ | PROT_WRITE);
    expect(there, 112, 0, 5000, "the new file");
    must(unlink(argv[0]), "unlink");
    fill(there, 114, 0, 5000);
    expect_by_read(other, 114, 0, 5000, "written when unlinked");
    int third = new_file(argv[0], 115, RANGE + 1);
    uint8_t *old = map_fd(third, RANGE + 1, PROT_READ);
    expect(old, 115, 0, RANGE + 1, "before O_TRUNC");
    int emptied = open_file(argv[0], O_RDWR | O_TRUNC);
    if (!raises_bus(old)) fail("no SIGBUS in an emptied file");
    write_all(emptied, 116, 0, 100, 100);
    expect(old, 116, 0, 100, "after O_TRUNC");
    expect_zeros(old + 100, 100, PAGE - 100, "after O_TRUNC");
    must(unlink(argv[0]), "unlink");
}

/* from-window FILE TO: what is written with write(2), or read into, lies itself in the window. */
static void from_window(char **argv)
{
    size_t length = RANGE + 12345;
    int fd = new_file(argv[0], 121, length);
    uint8_t *at = map_fd(fd, length, PROT_READ | PROT_WRITE);
    /* At the end of a file, so it goes as a FUSE_WRITE of these very pages. */
    int to = open_file(argv[1], O_RDWR | O_CREAT | O_TRUNC);
    for (size_t done = 0; done < length;) {
        long count = must(write(to, at + done, length - done), "write from a mapping");
        if (count == 0) fail("write wrote nothing");
        done += count;
    }
    expect_by_read(to, 121, 0, length, "written from a mapping");
    host("expect %s %zu 121", argv[1], length);
    write_all(to, 122, 0, length, length);
    for (size_t done = 0; done < length;) {
        long count = must(pread(to, at + done, length - done, done), "read into a mapping");
        if (count == 0) fail("read read nothing");
        done += count;
    }
    expect(at, 122, 0, length, "read into a mapping");
    must(msync(at, length, MS_SYNC), "msync");
    host("expect %s %zu 122", argv[0], length);
}

/* host-writes FILE: what the host writes is in the mapping at once, and the other way round. */
static void host_writes(char **argv)
{
    int fd = new_file(argv[0], 131, 2 * RANGE + 100);
    uint8_t *at = map_fd(fd, 2 * RANGE + 100, PROT_READ | PROT_WRITE);
    expect(at, 131, 0, 2 * RANGE + 100, "before");
    for (int i = 0; i < 10; i++) {
        size_t offset = word(133, i) % (2 * RANGE - 5000);
        host("write %s %zu 5000 %d", argv[0], offset, 132 + i);
        expect(at + offset, 132 + i, offset, 5000, "written by the host");
        fill(at + offset, 231 + i, offset, 5000);
        host("expect-part %s %zu 5000 %d", argv[0], offset, 231 + i);
    }
    host("write %s %ld 100 150", argv[0], 2 * RANGE);
    expect(at + 2 * RANGE, 150, 2 * RANGE, 100, "written by the host into the tail");
    fill(at + 2 * RANGE, 151, 2 * RANGE, 100);
    host("expect-part %s %ld 100 151", argv[0], 2 * RANGE);
    host("punch %s 8192 100000", argv[0]);
    expect_zeros(at + 8192, 8192, 100000, "punched by the host");
}

/* host-grows FILE: a file that the host makes longer. */
static void host_grows(char **argv)
{
    static const size_t steps[] = {99, 4000, 4096, RANGE, 1, 3 * RANGE};
    size_t size = 100;
    int fd = new_file(argv[0], 141, size);
    uint8_t *at = map_fd(fd, 8 * RANGE, PROT_READ | PROT_WRITE);
    expect(at, 141, 0, size, "before");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        host("write %s %zu %zu 141", argv[0], size, steps[i]);
        size += steps[i];
        if (file_size(fd) != size) fail("the file has %zu bytes, not %zu", file_size(fd), size);
        expect(at, 141, 0, size, "grown by the host");
        if (size % PAGE != 0) expect_end(at, size, "grown by the host");
        fill(at + size - 50, 142, size - 50, 50);
        host("expect-part %s %zu 50 142", argv[0], size - 50);
        fill(at + size - 50, 141, size - 50, 50);
    }
}

/* host-shrinks FILE: a file that the host makes shorter; the guest asks for its size before it looks. */
static void host_shrinks(char **argv)
{
    static const size_t sizes[] = {2 * RANGE + 1, 2 * RANGE, RANGE + 5000, RANGE - 1, 4097, 4096, 1, 0};
    size_t full = 3 * RANGE;
    int fd = new_file(argv[0], 161, full);
    uint8_t *at = map_fd(fd, full + PAGE, PROT_READ | PROT_WRITE);
    expect(at, 161, 0, full, "before");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        host("truncate %s %zu", argv[0], sizes[i]);
        if (file_size(fd) != sizes[i]) fail("the file has %zu bytes, not %zu", file_size(fd), sizes[i]);
        expect(at, 161, 0, sizes[i], "what the host left");
        expect_end(at, sizes[i], "shortened by the host");
    }
    host("write %s 0 %zu 162", argv[0], full);
    if (file_size(fd) != full) fail("the file has %zu bytes, not %zu", file_size(fd), full);
    expect(at, 162, 0, full, "grown again");
}

/* host-shrinks-unseen FILE: the same, and the guest looks without asking. */
static void host_shrinks_unseen(char **argv)
{
    size_t full = 2 * RANGE;
    int fd = new_file(argv[0], 171, full);
    uint8_t *at = map_fd(fd, full, PROT_READ | PROT_WRITE);
    expect(at, 171, 0, full, "before");
    host("truncate %s 5000", argv[0]);
    expect(at, 171, 0, 5000, "what the host left");
    if (!raises_bus(at + RANGE)) expect_zeros(at + RANGE, RANGE, PAGE, "where the file was");
    if (!raises_bus(at + 2 * PAGE)) expect_zeros(at + 2 * PAGE, 2 * PAGE, PAGE, "where the file was");
}

/* code FILE SIZE: functions in a file larger than the window, called in turn. With KVM only: TCG runs stale ones. */
static void code(char **argv)
{
    size_t size = strtoul(argv[1], NULL, 10);
    int fd = open_file(argv[0], O_RDWR | O_CREAT | O_TRUNC);
    must(ftruncate(fd, size), "ftruncate");
    for (uint32_t i = 0; i < size / RANGE; i++) {
        /* mov eax, i; ret */
        uint8_t bytes[6] = {0xb8, i, i >> 8, i >> 16, i >> 24, 0xc3};
        must(pwrite(fd, bytes, sizeof bytes, i * RANGE), "pwrite");
    }
    uint8_t *at = map_fd(fd, size, PROT_READ | PROT_EXEC);
    int wrong = 0, torn = 0;
    for (uint32_t turn = 0; turn < 4; turn++) {
        for (uint32_t i = 0; i < size / RANGE; i++) {
            uint32_t returned = ((uint32_t(*)(void))(at + i * RANGE))(), stored;
            memcpy(&stored, at + i * RANGE + 1, 4);
            wrong += returned != i;
            torn += stored != i;
        }
    }
    if (wrong + torn > 0) fail("%d calls ran other code, %d reads saw other bytes", wrong, torn);
}

struct check {
    const char *name;
    int arguments;
    void (*run)(char **);
};

static const struct check checks[] = {
    {"host", 1, ask_host},
    {"sum", 1, sum},
    {"dax", 2, dax},
    {"verify", 3, verify},
    {"random", 3, random_reads},
    {"write", 3, write_new},
    {"map-write", 3, map_write},
    {"append", 1, append},
    {"truncate", 1, shrink},
    {"tail", 1, tail},
    {"upgrade", 1, upgrade},
    {"read-only", 3, read_only},
    {"private", 1, private_mapping},
    {"fork", 1, talk},
    {"parallel", 2, parallel},
    {"copy-range", 2, copy_range},
    {"punch", 1, punch},
    {"names", 2, names},
    {"from-window", 2, from_window},
    {"code", 2, code},
    {"host-writes", 1, host_writes},
    {"host-grows", 1, host_grows},
    {"host-shrinks", 1, host_shrinks},
    {"host-shrinks-unseen", 1, host_shrinks_unseen},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof checks / sizeof *checks; i++) {
        if (strcmp(argv[1], checks[i].name) != 0) continue;
        if (argc - 2 < checks[i].arguments) fail("%s needs %d arguments", argv[1], checks[i].arguments);
        checks[i].run(argv + 2);
        return 0;
    }
    fail("Usage: probe CHECK [ARGUMENT]...");
}
