"""What Python programs do with descriptors, children, threads and waits. Prints the same text each time."""
import asyncio, fcntl, mmap, multiprocessing, os, select, signal, socket, subprocess, sys, tempfile, threading


def waits():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    print(select.select([near], [far], [], 0.05) == ([], [far], []))
    socket.send_fds(near, [b"x"], [0])
    data, files, flags, _ = socket.recv_fds(far, 10, 4)
    print(data, len(files), os.fstat(files[0]).st_rdev == os.fstat(0).st_rdev)
    poll = select.poll()
    poll.register(near, select.POLLIN | select.POLLOUT)
    poll.register(far.fileno(), select.POLLIN)
    print(sorted(poll.poll(0)) == [(near.fileno(), select.POLLOUT)])
    with select.epoll() as epoll:
        epoll.register(far, select.EPOLLIN | select.EPOLLET)
        near.send(b"edge")
        print([event for _, event in epoll.poll(1)], epoll.poll(0))
    try:
        select.select([1 << 9], [], [], 0)
    except OSError as error:
        print("select", error.errno)
    poll.register(500)
    print([event for _, event in poll.poll(0) if event & select.POLLNVAL])
    signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    print(poll.poll(0) != [], select.select([], [], [], 0.05))


def descriptors():
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as memory:
            print(memory[5005:5010], memory.find(b"90"))
        copy = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)
        print(copy >= 100, os.pread(copy, 3, 7))
        os.dup2(copy, 150)
        print(os.lseek(150, 0, os.SEEK_END), os.get_inheritable(150))
        for fd in (copy, 150):
            os.close(fd)
        try:
            os.close(150)
        except OSError as error:
            print("close", error.errno)
    lowest = os.dup(0)
    os.closerange(lowest, 1000)
    print(os.dup(0) == lowest)
    for path in ("/dev/netmap-not", "/dev/netmap/x"):
        try:
            os.open(path, os.O_RDWR)
        except OSError as error:
            print("open", error.errno)
    with socket.socket() as one:
        try:
            mmap.mmap(one.fileno(), 4096)
        except OSError as error:
            print("mmap", error.errno)
    try:
        fcntl.ioctl(0, 0xC0386992, bytes(64))
    except OSError as error:
        print("ioctl", error.errno)


def children():
    print(subprocess.run(["echo", "child"], capture_output=True).stdout)
    print(subprocess.run("exit 5", shell=True).returncode)
    reading, writing = os.pipe()
    command = ["sh", "-c", f"echo passed >&{writing}; ls /proc/self/fd | wc -l"]
    done = subprocess.run(command, pass_fds=[writing], capture_output=True)
    print(os.read(reading, 100), int(done.stdout) < 8)
    done = subprocess.run(["sh", "-c", f"echo no >&{writing}"], capture_output=True)
    print(done.returncode != 0)
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned >&9"], os.environ,
                           file_actions=[(os.POSIX_SPAWN_DUP2, writing, 9)])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.read(reading, 100))
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.execlp("echo", "echo", "forked")
    print(os.waitpid(child, 0)[1], os.read(reading, 100))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        print(len(cat.communicate(b"x" * 300000)[0]))
    with subprocess.Popen(["sleep", "10"]) as sleeper:
        sleeper.terminate()
    print(sleeper.returncode, subprocess.getoutput("echo output"), os.system("exit 3") >> 8)
    print(os.popen("echo popen").read())


def serve(listener):
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(line.upper())
            stream.flush()


def threads():
    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve, args=[listener])
    server.start()
    with socket.create_connection(listener.getsockname()) as client:
        stream = client.makefile("rwb")
        for number in range(200):
            stream.write(b"line %d\n" % number)
            stream.flush()
            assert stream.readline() == b"LINE %d\n" % number
        stream.close()
    server.join()
    total = []
    workers = [threading.Thread(target=lambda: total.append(subprocess.run(["true"]).returncode))
               for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(total)


async def tasks():
    async def answer(reader, writer):
        writer.write((await reader.readline())[::-1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"netmap\n")
    print(await reader.read())
    writer.close()
    server.close()
    made = [await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1) for _ in range(4)]
    print([(await one.communicate(b"task"))[0] for one in made])
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.02)
    except asyncio.TimeoutError:
        print("timeout")


def square(number):
    return number * number


def processes():
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(10)))
    queue = multiprocessing.get_context("fork").Queue()
    process = multiprocessing.get_context("fork").Process(target=queue.put, args=["queued"])
    process.start()
    print(queue.get(timeout=10))
    process.join()


if __name__ == "__main__":
    for part in (waits, descriptors, children, threads, processes):
        print("==", part.__name__, flush=True)
        part()
        sys.stdout.flush()
    asyncio.run(tasks())
