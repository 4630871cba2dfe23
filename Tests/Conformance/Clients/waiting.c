/* Programs whose netmapd does not answer, answers something else, or ends. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/un.h>

/* The process of netmapd, which the test names. */
static pid_t netmapd(void)
{
	const char *const text = getenv("NETMAP_TEST_DAEMON");

	CHECK(text && atoi(text) > 1);
	return atoi(text);
}

static void let_netmapd_go_on(void);

/* Sends a signal to all processes of netmapd. */
static void stop_netmapd(int signal)
{
	static int is_registered;
	char command[200];

	if (!is_registered)
		is_registered = !atexit(let_netmapd_go_on);

	snprintf(command, sizeof command, "kill -%d %d $(cat /proc/%d/task/*/children)", signal, netmapd(),
		 netmapd());
	CHECK(!system(command));
	usleep(50000);
}

/* Also if a check fails. */
static void let_netmapd_go_on(void)
{
	char command[200];

	snprintf(command, sizeof command, "kill -CONT %d $(cat /proc/%d/task/*/children) 2>/dev/null", netmapd(),
		 netmapd());
	(void)!system(command);
}

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
	(void)signal;
	signals++;
}

static void handle(int signal, int flags)
{
	const struct sigaction action = { .sa_handler = count_signal, .sa_flags = flags };

	CHECK(!sigaction(signal, &action, NULL));
}

/* Sends a signal to this process in a while. */
static pid_t signal_later(int signal, int milliseconds)
{
	const pid_t self = getpid(), child = fork();

	if (!child) {
		usleep((useconds_t)milliseconds * 1000);
		kill(self, signal);
		_exit(0);
	}
	return child;
}

/* A stopped netmapd: a signal ends requests within a second, and after it goes on everything works. */
static void interrupted(void)
{
	struct port a = open_port("stopped{1"), b = open_port("stopped}1"), spare = { .fd = open_device() };
	double start;
	pid_t child;

	handle(SIGINT, 0);
	stop_netmapd(SIGSTOP);
	/* Packets pass without netmapd. */
	send_packets(&a, 2);
	CHECK(receive_packets(&b) == 2);
	child = signal_later(SIGINT, 100);
	start = now();
	CHECK_FAILS(bind_port(&spare, "stopped{2", 0), EINTR);
	CHECK(signals == 1 && now() - start < 2);
	join(child);
	/* An open fails or not, but a signal is handled. */
	child = signal_later(SIGINT, 100);
	start = now();
	const int more = open("/dev/netmap", O_RDWR);

	CHECK(more >= 0 || errno == EINTR);
	join(child);
	usleep(1000);
	CHECK(signals == 2 && now() - start < 2);
	/* A default action. */
	child = fork();
	if (!child) {
		signal(SIGTERM, SIG_DFL);
		signal_later(SIGTERM, 100);
		struct port port = { .fd = open_device() };

		bind_port(&port, "stopped{3", 0);
		_exit(0);
	}
	int status;

	start = now();
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && now() - start < 3);
	stop_netmapd(SIGCONT);
	/* The request that was given up has left nothing. */
	CHECK(!bind_port(&spare, "stopped{2", NR_EXCLUSIVE));
	map_port(&spare);
	CHECK(!ioctl(spare.fd, NIOCTXSYNC, NULL));
	b = open_port("stopped{4");
}

/* Handlers that restart calls run within a second, and the request goes on. */
static void restarted(void)
{
	struct port port = { .fd = open_device() };
	pid_t child, signaller;
	const pid_t self = getpid();

	open_port("restarted{1");
	handle(SIGALRM, SA_RESTART);
	stop_netmapd(SIGSTOP);
	signaller = fork();
	if (!signaller) {
		for (int i = 0; i < 20; i++) {
			usleep(100000);
			kill(self, SIGALRM);
		}
		_exit(0);
	}
	child = fork();
	if (!child) {
		usleep(2500000);
		stop_netmapd(SIGCONT);
		exit(0);
	}
	CHECK(!bind_port(&port, "restarted{2", 0));
	CHECK(signals >= 2);
	map_port(&port);
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
	join(signaller);
	join(child);
}

/* Without a signal a request that cannot take long ends with ETIMEDOUT, also if the program blocks signals. */
static void timed_out(void)
{
	struct port port = open_port("late{1");
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
				       .nr_name = "late{1",
				       .nr_body = (uintptr_t)&info };
	double start;
	sigset_t set;

	handle(SIGINT, 0);
	CHECK(!sigemptyset(&set) && !sigaddset(&set, SIGINT) && !sigprocmask(SIG_BLOCK, &set, NULL));
	stop_netmapd(SIGSTOP);
	kill(getpid(), SIGINT);
	start = now();
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), ETIMEDOUT);
	CHECK(now() - start > 3 && now() - start < 20 && !signals);
	stop_netmapd(SIGCONT);
	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
}

/* A netmapd that ends in the middle of a request. */
static void killed(void)
{
	struct port port = open_port("killed{1"), spare = { .fd = open_device() };
	const pid_t daemon = netmapd();
	pid_t child;
	double start;

	stop_netmapd(SIGSTOP);
	child = fork();
	if (!child) {
		usleep(300000);
		kill(daemon, SIGKILL);
		_exit(0);
	}
	start = now();
	CHECK(bind_port(&spare, "killed{2", 0) == -1 && errno == ECONNRESET);
	CHECK(now() - start < 5);
	join(child);
	send_packets(&port, 1);
	/* The next one starts another netmapd. */
	port = open_port("killed{3");
	send_packets(&port, 1);
}

/* A server that is no netmapd, at the address of one. */
static int fake_listener(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path, sizeof name.sun_path, "%s.fake", getenv("NETMAP_SOCKET"));
	CHECK(!setenv("NETMAP_SOCKET", name.sun_path, 1));
	CHECK(!bind(listener, (struct sockaddr *)&name, sizeof name) && !listen(listener, 10));
	return listener;
}

/* Answers each message on each connection with these bytes, on the socket that came with it. */
static void answer(int listener, const void *bytes, size_t count)
{
	for (;;) {
		const int connection = accept(listener, NULL, NULL);

		for (;;) {
			union {
				struct cmsghdr header;
				char space[CMSG_SPACE(sizeof(int) * 4)];
			} control;
			char request[4096];
			struct iovec part = { .iov_base = request, .iov_len = sizeof request };
			struct msghdr message = { .msg_iov = &part,
						  .msg_iovlen = 1,
						  .msg_control = &control,
						  .msg_controllen = sizeof control };
			int reply;

			if (recvmsg(connection, &message, 0) <= 0)
				break;
			if (message.msg_controllen < CMSG_LEN(sizeof(int)))
				continue;
			memcpy(&reply, CMSG_DATA(&control.header), sizeof reply);
			if (bytes)
				send(reply, bytes, count, MSG_NOSIGNAL);
			close(reply);
		}
		close(connection);
	}
}

static void expect_answer(const void *bytes, size_t count, int error)
{
	const int listener = fake_listener();
	const pid_t child = fork();
	struct port port;
	double start = now();

	if (!child) {
		/* Also if a check fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer(listener, bytes, count);
		_exit(0);
	}
	port.fd = open_device();
	CHECK_FAILS(bind_port(&port, "fake{1", 0), error);
	CHECK(now() - start < 5);
	CHECK(!close(port.fd) && !kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
}

static void rubbish(void)
{
	static char zeros[40000];

	expect_answer("not a message of netmapd", 24, EINVAL);
	expect_answer(zeros, sizeof zeros, EINVAL);
	expect_answer(zeros, 1, EINVAL);
}

/* A positive answer that says nothing. */
static void empty_answers(void)
{
	struct {
		uint32_t magic;
		uint16_t version, kind;
	} message = { 0x64706d6e, 0, 32 };
	const char *const version = getenv("NETMAP_TEST_VERSION");

	CHECK(version && atoi(version));
	message.version = (uint16_t)atoi(version);
	expect_answer(&message, 8, EINVAL);
}

/* A netmapd that has reached a limit refuses. */
static void full(void)
{
	struct __attribute__((packed)) {
		uint32_t magic;
		uint16_t version, kind;
		int32_t error;
		uint16_t texts[4];
	} message = { 0x64706d6e, 0, 33, ENFILE, { 0 } };
	const char *const version = getenv("NETMAP_TEST_VERSION");

	CHECK(version);
	message.version = (uint16_t)atoi(version);
	expect_answer(&message, sizeof message, ENFILE);
}

static void other_version(void)
{
	const struct {
		uint32_t magic;
		uint16_t version, kind;
	} message = { 0x64706d6e, 999, 32 };

	expect_answer(&message, 8, EPROTO);
}

static void no_answer(void)
{
	expect_answer(NULL, 0, EMFILE);
}

/* Nothing listens, and no program can be started. */
static void missing(void)
{
	char path[200];

	snprintf(path, sizeof path, "%s.none", getenv("NETMAP_SOCKET"));
	CHECK(!setenv("NETMAP_SOCKET", path, 1));
	CHECK(!setenv("NETMAPD", "/nonexistent/netmapd", 1));
	CHECK_FAILS(open("/dev/netmap", O_RDWR), ENOENT);
	/* A program that ends at once. */
	CHECK(!setenv("NETMAPD", "/bin/false", 1));
	CHECK(open("/dev/netmap", O_RDWR) == -1 && errno == ECONNREFUSED);
	CHECK(!setenv("NETMAP_SOCKET", "/proc/nonexistent/netmapd.sock", 1));
	CHECK(open("/dev/netmap", O_RDWR) == -1 && errno);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "interrupted", interrupted }, { "restarted", restarted },
		{ "timed-out", timed_out },	{ "killed", killed },
		{ "rubbish", rubbish },		{ "empty", empty_answers },
		{ "version", other_version },	{ "none", no_answer },
		{ "missing", missing },		{ "full", full },		{ 0 },
	};

	setvbuf(stdout, NULL, _IONBF, 0);
	return run_test(tests, count, arguments);
}
