internal import CLinux
internal import Glibc
package import NetmapCore

/// The work of one process at its end of a pipe.
package struct PeerJob: Hashable, Sendable {
  package enum Role: String, Sendable { case send, receive }
  package enum Waiting: String, Sendable { case spin, sleep }

  package var role: Role
  package var waiting: Waiting
  package var packets: UInt64
  package var batch: UInt32

  package init(_ role: Role, packets: UInt64, batch: UInt32, waiting: Waiting) {
    self.role = role
    self.packets = packets
    self.batch = batch
    self.waiting = waiting
  }
}

/// The numbers that identify an end, in addition to the inherited descriptors.
package struct PeerPlace: Hashable, Sendable {
  package var binding: Int
  package var tag: ClientTag

  package init(binding: Int, tag: ClientTag) {
    self.binding = binding
    self.tag = tag
  }

  /// The numbers of the descriptors in the new process, in the order of ``PeerProcess/init``.
  static let descriptors: [CInt] = [10, 11, 12]
}

/// A `pipe-peer` process that drives one end of a pipe of this process's engine.
package struct PeerProcess {
  package let pid: Int32
  private let output: CInt

  /// Starts the process.
  ///
  /// - Parameters:
  ///   - executable: The `pipe-peer` executable.
  ///   - job: The work to do.
  ///   - place: The end of the pipe.
  ///   - engine: The engine of the pipe. The process inherits its directory.
  ///   - registration: The end's binding. The process inherits its region and sync segment.
  /// - Throws: ``NetmapError`` with the `errno` of the failed call.
  package init(
    _ executable: String, _ job: PeerJob, _ place: PeerPlace, engine: Engine,
    registration: Registration
  ) throws(NetmapError) {
    let arguments = [
      executable, job.role.rawValue, "--packets", "\(job.packets)", "--batch", "\(job.batch)",
      "--waiting", job.waiting.rawValue, "--binding", "\(place.binding)", "--slot",
      "\(place.tag.slot)", "--epoch", "\(place.tag.epoch)",
    ]
    let files = [
      registration.region.descriptor, registration.segment.memory.descriptor,
      engine.directory.memory.descriptor,
    ]
    var ends: [CInt] = [0, 0]
    // No other process may inherit the write end, or the reader would never see the end of the output.
    guard unsafe clinux_pipe(&ends) == 0 else { throw systemError("pipe", executable) }
    // Above the numbers of the descriptors in the new process.
    let sources = files.map { fcntl($0, CInt(CLINUX_F_DUPFD_CLOEXEC), 100) }
    defer { for file in sources + [ends[1]] { close(file) } }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    for (source, target) in zip(sources, PeerPlace.descriptors) {
      unsafe posix_spawn_file_actions_adddup2(&actions, source, target)
    }
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 13)
    var strings = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe strings.forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let code = unsafe posix_spawn(&pid, executable, &actions, nil, &strings, environ)
    guard code == 0 else {
      close(ends[0])
      throw NetmapError(
        .init(rawValue: code), "posix_spawn", executable,
        reason: unsafe String(cString: strerror(code)))
    }
    self.pid = pid
    output = ends[0]
  }

  /// Waits for the process to end.
  ///
  /// - Parameter seconds: The longest silence before this method kills the process; nil for no limit.
  /// - Returns: Its waitpid(2) status, and its output.
  package func wait(within seconds: CInt? = 90) -> (status: CInt, output: String) {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
    while true {
      let ready = unsafe poll(&waiting, 1, seconds.map { $0 * 1000 } ?? -1)
      if ready < 0, errno == EINTR { continue }
      if ready == 0 {
        kill()
        break
      }
      let count = unsafe read(output, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += chunk.prefix(count)
    }
    close(output)
    var status: CInt = 0
    while unsafe waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return (status, String(decoding: bytes, as: UTF8.self))
  }

  /// Kills the process; ``wait(within:)`` waits for its end.
  package func kill() {
    Glibc.kill(pid, SIGKILL)
  }

  /// The path of the `pipe-peer` in the folder of the running executable.
  package static var besideThisExecutable: String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/proc/self/exe", &path, path.count)
    let bytes = path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
    let folder = bytes.prefix(upTo: bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)
    return String(decoding: folder, as: UTF8.self) + "/pipe-peer"
  }
}
