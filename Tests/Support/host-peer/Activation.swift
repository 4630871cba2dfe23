import Glibc
import NetmapClient

/// Becomes another program with a listening socket as descriptor 3, as systemd's socket activation
/// does.
///
/// See sd_listen_fds(3).
func activate(_ socket: String, _ program: [String]) throws -> Never {
  let listening = try DaemonAddress(path: socket).listen()
  // The copy stays open across the exec.
  guard dup2(listening, 3) == 3 else { HostPeer.fail("dup2: errno \(errno)") }
  if listening == 3 { _ = fcntl(3, F_SETFD, 0) }
  unsafe setenv("LISTEN_PID", "\(getpid())", 1)
  unsafe setenv("LISTEN_FDS", "1", 1)
  var arguments = unsafe program.map { unsafe strdup($0) } + [nil]
  unsafe execv(program[0], &arguments)
  HostPeer.fail("\(program[0]): errno \(errno)")
}

/// Listens at a daemon's address, and prints how many bytes the connecting clients send.
func overhear(_ socket: String, _ connections: Int) throws {
  let listening = try DaemonAddress(path: socket).listen()
  _ = unsafe chmod(socket, 0o666)
  HostPeer.say("ready")
  var bytes = [UInt8](repeating: 0, count: 65536)
  var count = 0
  for _ in 0..<connections {
    let file = accept(listening, nil, nil)
    // A client that hangs up sends nothing; a client that does not has sent a request.
    unsafe count += max(0, recv(file, &bytes, bytes.count, 0))
    close(file)
  }
  HostPeer.say("heard \(count)")
  unsafe unlink(socket)
}
