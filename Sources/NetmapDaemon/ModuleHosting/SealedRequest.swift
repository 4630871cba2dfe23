internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A user's own request to run a module, received from a socket.
///
/// The kernel says who sent it.
///
/// Only a process for which no other process waits may read it: any process with a copy of the
/// socket can make reading hang.
struct SealedRequest {
  private let bytes: [UInt8]
  private let process: Int32
  let user: UInt32
  let group: UInt32
  /// The sender's pidfd, where the kernel provides one.
  private let life: OwnedFile?

  /// - Parameter socket: The socket in which the request lies.
  /// - Throws: ``NetmapError`` `EINVAL` when there is no request, or it carries descriptors.
  init(receivedFrom socket: OwnedFile) throws(NetmapError) {
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var arrival = clinux_arrival()
    var bytes = [UInt8](repeating: 0, count: Message.byteCountMax)
    guard clinux_is_message_socket(socket.descriptor) != 0,
      clinux_pass_credentials(socket.descriptor) == 0
    else { throw Self.refusal("the request arrived without its seal") }
    let count = unsafe clinux_receive_arrival(
      socket.descriptor, &bytes, bytes.count, &files, &arrival)
    life = arrival.pidfd >= 0 ? OwnedFile(arrival.pidfd) : nil
    // Descriptors that came with the request are closed when this process ends.
    guard count > 0, arrival.has_sender != 0, arrival.truncated == 0, arrival.count == 0,
      arrival.sender.process > 0
    else { throw Self.refusal("the seal is empty, or its process has ended") }
    self.bytes = Array(bytes.prefix(count))
    process = arrival.sender.process
    user = arrival.sender.user
    group = arrival.sender.group
  }

  /// The order that the request contains.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the request asks for anything but a module from a
  ///   shared object.
  func order() throws(NetmapError) -> ModuleHostProcess.HostedModule {
    var message = try Message(bytes)
    guard message.kind == .control,
      case .module(let vale, .choose(let choice)) = try message.body.takeSwitchRequest(),
      case .loaded(let path, let configuration, let fallback) = choice
    else { throw Self.refusal("the request does not load a module") }
    try choice.check()
    return ModuleHostProcess.HostedModule(
      vale: vale, path: path, configuration: configuration, fallback: fallback)
  }

  /// Refuses a request of a process in a container.
  ///
  /// Root of a container has the number of the host's root, and a path means another file there.
  /// The broker refuses requests from clients of an isolated listener; this check still holds if an
  /// attacker controls the broker.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkSender() throws(NetmapError) {
    let place = ProcessPlace(of: process)
    // The sender was still alive after the read, so its number did not belong to another process
    // during it.
    guard let place, isAlive, place == ProcessPlace(of: 1) || place == ProcessPlace(of: getpid())
    else {
      throw NetmapError(
        .notPermitted, "load", "module",
        reason: "the requesting process, \(process), is in a container, in another mount or user"
          + " namespace, or has ended",
        remedy: "choose the module from a process of the host")
    }
  }

  /// Whether the sender is alive.
  ///
  /// A kernel before 6.5 provides no pidfd; then any process with that number and user counts.
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
      .invalidArgument, "load", "module", reason: reason,
      remedy: "use one version of netmap for all processes")
  }
}

/// The root directory and namespaces of a process, which determine what paths and user numbers mean
/// to it.
private struct ProcessPlace: Equatable {
  private let mounts: String
  private let users: String
  private let root: String
  private let rootFile: [UInt64]

  /// - Returns: Nil when the process has ended or may not be inspected.
  init?(of process: Int32) {
    guard let mounts = Self.link("/proc/\(process)/ns/mnt"),
      let users = Self.link("/proc/\(process)/ns/user"),
      let root = Self.link("/proc/\(process)/root")
    else { return nil }
    // The link of an unmounted root is "/" as well, so compare the directory itself too.
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
