internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A user's own request to run a module, as it lay in a socket; who sent it, the kernel says.
///
/// Only a process that nobody waits for reads it: whoever has a copy of the socket can make that take for ever.
struct SealedRequest {
  private let bytes: [UInt8]
  private let process: Int32
  let user: UInt32
  let group: UInt32
  /// Of the sender, where the kernel gives one.
  private let life: OwnedFile?

  /// - Parameter socket: Where it lies.
  /// - Throws: ``NetmapError`` `EINVAL` when there is none, or it has brought descriptors.
  init(receivedFrom socket: OwnedFile) throws(NetmapError) {
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var arrival = clinux_arrival()
    var bytes = [UInt8](repeating: 0, count: Message.byteCountMax)
    guard clinux_is_message_socket(socket.descriptor) != 0,
      clinux_pass_credentials(socket.descriptor) == 0
    else { throw Self.refusal("it has come without its seal") }
    let count = unsafe clinux_receive_arrival(
      socket.descriptor, &bytes, bytes.count, &files, &arrival)
    life = arrival.pidfd >= 0 ? OwnedFile(arrival.pidfd) : nil
    // Descriptors go with the process.
    guard count > 0, arrival.has_sender != 0, arrival.truncated == 0, arrival.count == 0,
      arrival.sender.process > 0
    else { throw Self.refusal("its seal is empty, or its process has gone") }
    self.bytes = Array(bytes.prefix(count))
    process = arrival.sender.process
    user = arrival.sender.user
    group = arrival.sender.group
  }

  /// What it asks for.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when it is anything but a module from a shared object.
  func order() throws(NetmapError) -> ModuleHostProcess.HostedModule {
    var message = try Message(bytes)
    guard message.kind == .control,
      case .module(let bridge, .choose(let choice)) = try message.body.takeSwitchRequest(),
      case .loaded(let path, let configuration, let fallback) = choice
    else { throw Self.refusal("it is no request to load a module") }
    try choice.check()
    return ModuleHostProcess.HostedModule(
      bridge: bridge, path: path, configuration: configuration, fallback: fallback)
  }

  /// Refuses a request of a process that lives in a container: there user 0 is anybody, and a path means another
  /// file. The broker refuses those who connect to an isolated listener; this holds if the broker is somebody's.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkSender() throws(NetmapError) {
    let place = ProcessPlace(of: process)
    // It lives after that was read, so it was not that of another process with the same number.
    guard let place, isAlive, place == ProcessPlace(of: 1) || place == ProcessPlace(of: getpid())
    else {
      throw NetmapError(
        .notPermitted, "load", "module",
        reason: "process \(process), which asks, is in a container, in another mount or user"
          + " namespace, or has gone",
        remedy: "choose the module from outside")
    }
  }

  /// Whether the sender lives. A kernel before 6.5 gives no descriptor of it: then it is a process of that
  /// number and user.
  private var isAlive: Bool {
    if let life {
      var state = pollfd(fd: life.descriptor, events: Int16(POLLIN), revents: 0)
      return unsafe poll(&state, 1, 0) == 0
    }
    var status = stat()
    return unsafe stat("/proc/\(process)", &status) == 0
      && (status.st_uid == user || status.st_uid == 0)
  }

  private static func refusal(_ reason: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "load", "module", reason: "the request is refused: \(reason)",
      remedy: "use one version of netmap for all processes")
  }
}

/// Where a process lives: what paths and users mean to it.
private struct ProcessPlace: Equatable {
  private let mounts: String
  private let users: String
  private let root: String
  private let rootFile: [UInt64]

  /// - Returns: Nil when it has gone, or may not be looked at.
  init?(of process: Int32) {
    guard let mounts = Self.link("/proc/\(process)/ns/mnt"),
      let users = Self.link("/proc/\(process)/ns/user"),
      let root = Self.link("/proc/\(process)/root")
    else { return nil }
    // A mount that has been taken off is "/" as well.
    var status = stat()
    guard unsafe stat("/proc/\(process)/root", &status) == 0 else { return nil }
    self.mounts = mounts
    self.users = users
    self.root = root
    rootFile = [UInt64(status.st_dev), UInt64(status.st_ino)]
  }

  private static func link(_ path: String) -> String? {
    var text = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink(path, &text, text.count)
    guard count > 0 else { return nil }
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
