/* An SMTP server that accepts everything and keeps almost nothing, so that it never slows a sender down.
 *
 *   cc -O2 -o sink sink.c && ./sink [-p PORT] [-d MS] [-l LOG] [-s DIR -e EVERY] [-P] [-C]
 *
 * It prints its port (0: a free one), serves until SIGTERM or SIGINT, and then prints one line of JSON: messages, bytes,
 * recipients, the most connections at once, and its own CPU seconds, which show which side was the bottleneck.
 *
 *   -d MS     each reply leaves MS milliseconds after its command: a distant relay
 *   -l LOG    accepted recipients, one a line: number of the message, tab, address; written at the end
 *   -s DIR    every EVERYth message as DIR/NUMBER.eml, dots unstuffed
 *   -P, -C    do not offer PIPELINING (RFC 2920), CHUNKING (RFC 3030)
 *
 * RFC 5321 with SIZE (RFC 1870), 8BITMIME, PIPELINING and CHUNKING. Only what a sender's rate depends on: it finds the
 * end of a message with memchr, copies only the messages that it samples, and checks nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_LINE 8192
#define MOST_SIZE 52428800L
#define CHUNK (1 << 18)
#define EVENTS 64

typedef struct { char *at; size_t used, room; } Text;

typedef struct Reply { struct Reply *next; struct Connection *to; long long due; size_t length; char text[]; } Reply;

typedef enum { COMMANDS, DATA, BDAT } Mode;

typedef struct Connection {
    int fd;
    Mode mode;
    char line[MOST_LINE]; /* a command whose end has not arrived yet */
    size_t held;
    int matched;          /* DATA: how much of CRLF . CRLF ends the bytes so far */
    long left;            /* BDAT: octets that are still expected */
    int last, has_sender, sampled, writing, begun, closing;
    Text recipients, sample, out;
    int waiting;          /* replies that are not due yet */
    struct Connection *dead_next;
} Connection;

static struct { long messages, bytes, recipients, connections, most, sessions; } count;
static long started, sample_every, delay_ms;
static int offers_pipelining = 1, offers_chunking = 1, poll_fd;
static const char *sample_dir;
static FILE *log_file;
static Reply *first_reply, *last_reply;
static Connection *dead;
static volatile sig_atomic_t ending;
static char chunk[CHUNK];

static void stop(int number) { (void)number; ending = 1; }

static void die(const char *what) { perror(what); exit(1); }

static long long now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void add(Text *text, const char *bytes, size_t length) {
    if (text->used + length > text->room) {
        text->room = (text->used + length) * 2;
        if (!(text->at = realloc(text->at, text->room))) die("memory");
    }
    memcpy(text->at + text->used, bytes, length);
    text->used += length;
}

static void flush(Connection *c) {
    size_t done = 0;
    while (done < c->out.used) {
        ssize_t sent = send(c->fd, c->out.at + done, c->out.used - done, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) { c->closing = 1; done = c->out.used; }
            break;
        }
        done += (size_t)sent;
    }
    memmove(c->out.at, c->out.at + done, c->out.used - done);
    c->out.used -= done;
    int wants = c->out.used > 0;
    if (wants != c->writing) {
        struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
        c->writing = wants;
    }
}

__attribute__((format(printf, 2, 3))) static void reply(Connection *c, const char *format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    size_t length = (size_t)vsnprintf(text, sizeof text - 2, format, values);
    va_end(values);
    memcpy(text + length, "\r\n", 2);
    add(&c->out, text, length + 2);
}

/* Send the replies since the last call now, or when they are due. All delays are equal, so a queue keeps the order. */
static void send_replies(Connection *c, long long now) {
    if (!c->out.used) return;
    if (!delay_ms) { flush(c); return; }
    if (c->writing) return;
    Reply *reply = malloc(sizeof *reply + c->out.used);
    if (!reply) die("memory");
    *reply = (Reply){.to = c, .due = now + delay_ms * 1000, .length = c->out.used};
    memcpy(reply->text, c->out.at, c->out.used);
    c->out.used = 0;
    c->waiting++;
    if (last_reply) last_reply->next = reply; else first_reply = reply;
    last_reply = reply;
}

static void close_connection(Connection *c) {
    close(c->fd);
    c->fd = -1;
    count.connections--;
    c->dead_next = dead;
    dead = c;
}

static void send_due(long long now) {
    while (first_reply && first_reply->due <= now) {
        Reply *reply = first_reply;
        Connection *c = reply->to;
        if (!(first_reply = reply->next)) last_reply = NULL;
        c->waiting--;
        if (c->fd >= 0) {
            add(&c->out, reply->text, reply->length);
            flush(c);
            if (c->closing && !c->waiting) close_connection(c);
        }
        free(reply);
    }
}

static void forget_mail(Connection *c) {
    c->has_sender = c->sampled = c->begun = 0;
    c->recipients.used = c->sample.used = 0;
}

static void begin_message(Connection *c) {
    if (!c->begun) { c->begun = 1; c->sampled = sample_every && started++ % sample_every == 0; }
}

static void write_sample(Connection *c, int stuffed) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%ld.eml", sample_dir, count.messages);
    FILE *file = fopen(path, "wb");
    if (!file) die(path);
    const char *at = c->sample.at, *end = at + c->sample.used;
    if (!stuffed) fwrite(at, 1, (size_t)(end - at), file);
    else for (end -= 3; at < end;) { /* without the dot and its CRLF; RFC 5321 4.5.2: remove one leading dot */
        const char *crlf = memmem(at, (size_t)(end - at), "\r\n", 2);
        const char *next = crlf ? crlf + 2 : end;
        if (*at == '.') at++;
        fwrite(at, 1, (size_t)(next - at), file);
        at = next;
    }
    fclose(file);
}

static void accept_message(Connection *c, int stuffed) {
    count.messages++;
    for (size_t at = 0; at < c->recipients.used;) {
        const char *one = c->recipients.at + at;
        size_t length = strlen(one);
        if (log_file) fprintf(log_file, "%ld\t%s\n", count.messages, one);
        count.recipients++;
        at += length + 1;
    }
    if (c->sampled) write_sample(c, stuffed);
    forget_mail(c);
    reply(c, "250 2.0.0 accepted as %ld", count.messages);
}

/* The path between < and >, or NULL. Ends the line there. */
static char *path_of(char *line, char **rest) {
    char *open = strchr(line, '<'), *shut = open ? strrchr(open, '>') : NULL;
    if (!shut) return NULL;
    *shut = 0;
    *rest = shut + 1;
    return open + 1;
}

static void command(Connection *c, char *line) {
    char *path, *rest;
    if (!strncasecmp(line, "MAIL FROM:", 10)) {
        if (c->has_sender) { reply(c, "503 5.5.1 there is a sender"); return; }
        if (!(path = path_of(line, &rest))) { reply(c, "501 5.1.7 no path"); return; }
        char *size = strcasestr(rest, "SIZE=");
        if (size && atol(size + 5) > MOST_SIZE) { reply(c, "552 5.3.4 too big"); return; }
        c->has_sender = 1;
        reply(c, "250 2.1.0 ok");
    } else if (!strncasecmp(line, "RCPT TO:", 8)) {
        if (!c->has_sender) { reply(c, "503 5.5.1 MAIL first"); return; }
        if (!(path = path_of(line, &rest)) || !*path) { reply(c, "501 5.1.3 no path"); return; }
        add(&c->recipients, path, strlen(path) + 1);
        reply(c, "250 2.1.5 ok");
    } else if (!strcasecmp(line, "DATA")) {
        if (!c->recipients.used) { reply(c, "503 5.5.1 no recipient"); return; }
        begin_message(c);
        c->mode = DATA;
        c->matched = 2; /* the CRLF of the command counts: an empty message is only a dot */
        reply(c, "354 go on");
    } else if (offers_chunking && !strncasecmp(line, "BDAT ", 5)) {
        c->left = strtol(line + 5, &rest, 10);
        c->last = strcasestr(rest, "LAST") != NULL;
        if (rest == line + 5 || c->left < 0) { reply(c, "501 5.5.4 how many?"); c->closing = 1; return; }
        begin_message(c);
        c->mode = BDAT;
    } else if (!strncasecmp(line, "EHLO ", 5)) {
        forget_mail(c);
        reply(c, "250-sink.example");
        if (offers_pipelining) reply(c, "250-PIPELINING");
        if (offers_chunking) reply(c, "250-CHUNKING");
        reply(c, "250-SIZE %ld", MOST_SIZE);
        reply(c, "250 8BITMIME");
    } else if (!strncasecmp(line, "HELO ", 5)) {
        forget_mail(c);
        reply(c, "250 sink.example");
    } else if (!strcasecmp(line, "RSET")) {
        forget_mail(c);
        reply(c, "250 2.0.0 ok");
    } else if (!strncasecmp(line, "NOOP", 4)) {
        reply(c, "250 2.0.0 ok");
    } else if (!strcasecmp(line, "QUIT")) {
        reply(c, "221 2.0.0 bye");
        c->closing = 1;
    } else {
        reply(c, "500 5.5.1 unknown");
    }
}

/* Returns how many octets belong to the message of DATA; c->mode is COMMANDS if its end was among them. */
static size_t data(Connection *c, const char *from, size_t length) {
    const char *at = from, *end = from + length;
    int matched = c->matched;
    while (at < end) {
        if (matched == 0) {
            const char *dot = memchr(at, '.', (size_t)(end - at));
            if (!dot) {
                if (end[-1] == '\r') matched = 1;
                else if (end - at >= 2 && end[-1] == '\n' && end[-2] == '\r') matched = 2;
                at = end;
            } else {
                if (dot - at >= 2 && dot[-1] == '\n' && dot[-2] == '\r') matched = 3;
                at = dot + 1;
            }
            continue;
        }
        char byte = *at++;
        if (byte == '\r') matched = matched == 3 ? 4 : 1;
        else if (byte == '\n' && matched == 1) matched = 2;
        else if (byte == '.' && matched == 2) matched = 3;
        else if (byte == '\n' && matched == 4) { c->mode = COMMANDS; break; }
        else matched = 0;
    }
    c->matched = matched;
    size_t used = (size_t)(at - from);
    count.bytes += (long)used;
    if (c->sampled) add(&c->sample, from, used);
    if (c->mode == COMMANDS) accept_message(c, 1);
    return used;
}

static size_t bdat(Connection *c, const char *from, size_t length) {
    size_t used = length < (size_t)c->left ? length : (size_t)c->left;
    c->left -= (long)used;
    count.bytes += (long)used;
    if (c->sampled) add(&c->sample, from, used);
    if (!c->left) {
        c->mode = COMMANDS;
        if (!c->recipients.used) { forget_mail(c); reply(c, "503 5.5.1 no recipient"); }
        else if (c->last) accept_message(c, 0);
        else reply(c, "250 2.0.0 so far");
    }
    return used;
}

static size_t commands(Connection *c, const char *from, size_t length) {
    const char *feed = memchr(from, '\n', length);
    size_t used = feed ? (size_t)(feed - from) + 1 : length;
    if (c->held + used >= MOST_LINE) { reply(c, "500 5.5.2 line too long"); c->closing = 1; return length; }
    memcpy(c->line + c->held, from, used);
    c->held += used;
    if (feed) {
        size_t end = c->held - 1;
        while (end && c->line[end - 1] == '\r') end--;
        c->line[end] = 0;
        c->held = 0;
        command(c, c->line);
    }
    return used;
}

static void free_dead(void) {
    Connection *kept = NULL;
    while (dead) {
        Connection *c = dead;
        dead = c->dead_next;
        if (c->waiting) { c->dead_next = kept; kept = c; continue; }
        free(c->recipients.at); free(c->sample.at); free(c->out.at); free(c);
    }
    dead = kept;
}

static void readable(Connection *c, long long now) {
    ssize_t came = recv(c->fd, chunk, sizeof chunk, 0);
    if (came < 0 && errno == EAGAIN) return;
    if (came <= 0 || c->closing) { close_connection(c); return; }
    for (size_t at = 0, length = (size_t)came; (at < length || (c->mode == BDAT && !c->left)) && !c->closing;) {
        const char *from = chunk + at;
        if (c->mode == DATA) at += data(c, from, length - at);
        else if (c->mode == BDAT) at += bdat(c, from, length - at);
        else at += commands(c, from, length - at);
    }
    send_replies(c, now);
    if (!c->closing) return;
    if (!c->waiting) { close_connection(c); return; }
    struct epoll_event event = {.events = 0, .data.ptr = c}; /* it reads nothing more, but sends the due replies */
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void accept_clients(int listener, long long now) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Connection *c = calloc(1, sizeof *c);
        if (!c) die("memory");
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
        count.sessions++;
        if (++count.connections > count.most) count.most = count.connections;
        reply(c, "220 sink.example ESMTP");
        send_replies(c, now);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 256)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    int option, port = 0;
    while ((option = getopt(argc, argv, "p:d:l:s:e:PC")) != -1) switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'd': delay_ms = atol(optarg); break;
        case 'l': if (!(log_file = fopen(optarg, "w"))) die(optarg); setvbuf(log_file, NULL, _IOFBF, 1 << 20); break;
        case 's': sample_dir = optarg; break;
        case 'e': sample_every = atol(optarg); break;
        case 'P': offers_pipelining = 0; break;
        case 'C': offers_chunking = 0; break;
        default: return 2;
    }
    if (!sample_dir) sample_every = 0;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int listener = listen_on(port);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    while (!ending) {
        int wait = -1;
        if (first_reply) {
            long long rest = first_reply->due - now_us();
            wait = rest <= 0 ? 0 : (int)((rest + 999) / 1000);
        }
        int found = epoll_wait(poll_fd, events, EVENTS, wait);
        long long now = delay_ms ? now_us() : 0;
        if (delay_ms) send_due(now);
        for (int number = 0; number < found; number++) {
            Connection *c = events[number].data.ptr;
            if (!c) { accept_clients(listener, now); continue; }
            if (c->fd >= 0 && events[number].events & EPOLLOUT) flush(c);
            if (c->fd >= 0 && events[number].events & ~(uint32_t)EPOLLOUT) readable(c, now);
        }
        free_dead();
    }
    if (log_file && fclose(log_file)) die("log");
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    printf("{\"messages\": %ld, \"bytes\": %ld, \"recipients\": %ld, \"sessions\": %ld, \"most\": %ld, \"cpu\": %.6f}\n",
           count.messages, count.bytes, count.recipients, count.sessions, count.most, cpu);
    return 0;
}
